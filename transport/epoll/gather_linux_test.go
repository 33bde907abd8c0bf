package epoll

import (
	"fmt"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/transport"
)

// TestGather sends like handlers during a turn: the first message is written immediately, later ones when the turn
// ends.
func TestGather(t *testing.T) {
	ts := serve(t, kind{}, echo)
	peer := ts.dial(t)
	c := <-ts.conns
	eventually(t, "it has started", func() bool { return c.has(started) })

	for range 3 {
		c.gather()
		c.SendText("first")
		peer.expect("text first")
		c.SendText("second")
		c.SendText("third")
		if n := c.Queued(); n != len("..second..third") {
			t.Fatalf("%d bytes wait", n)
		}
		if c.Writable() {
			t.Error("writable while messages wait")
		}
		c.scatter()
		if n := c.Queued(); n != 0 {
			t.Fatalf("%d bytes wait", n)
		}
		peer.expect("text second", "text third")
		c.SendText("alone")
		if n := c.Queued(); n != 0 {
			t.Fatalf("%d bytes wait", n)
		}
		peer.expect("text alone")
	}

	// A large message does not wait, and neither do those before it.
	large := strings.Repeat("x", maxGathered)
	c.gather()
	c.SendText("first")
	c.SendText("second")
	c.SendText(large)
	peer.expect("text first", "text second", "text "+large)
	c.SendText("third")
	c.Cork()
	c.SendText("fourth")
	c.Uncork()
	peer.expect("text third", "text fourth")

	// During a pause the loop waits until the kernel accepts the queue. The wait ends with the queue.
	c.SendText("fifth")
	c.Pause()
	c.scatter()
	c.Resume()
	peer.expect("text fifth")
	eventually(t, "it does not wait for the kernel with nothing to write", func() bool { return c.Writable() && !c.has(writing) })

	// A close frame comes last.
	c.gather()
	c.SendText("first")
	c.SendText("second")
	c.Close(transport.CloseNormal)
	peer.expect("text first", "text second", "close 1000")
	peer.send(closeFrame(1000, ""))
	peer.expect("EOF")
	c.scatter()
}

// TestGatherInRuns sends many messages in one Run, and in one that blocks.
func TestGatherInRuns(t *testing.T) {
	const n = 3000
	release := make(chan struct{})
	ts := serve(t, kind{options: Options{Loops: 1}}, func(c *Conn) {
		r := newRecorder()
		r.onMessage = func(transport.Conn, []byte) bool { return true }
		r.onRun = func(c transport.Conn) {
			for i := range n {
				c.SendText(fmt.Sprint(i))
			}
			if log := r.messages(); log[len(log)-1] == "text block" {
				<-release
				c.SendText("released")
			}
		}
		c.Start(r)
	})
	c := ts.dial(t)
	for _, how := range []string{"run", "block"} {
		c.send(text(how))
		for i := range n {
			c.expect("text " + fmt.Sprint(i))
		}
	}
	close(release)
	c.expect("text released")
}
