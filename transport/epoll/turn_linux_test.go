package epoll

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/transport"
)

// writeCounter is a carrier that counts write system calls.
type writeCounter struct {
	carrier
	self   carrier
	writes atomic.Int32
}

func countWrites(c *Conn) *writeCounter {
	w := &writeCounter{carrier: c.carrier()}
	w.self = w
	c.by = &w.self
	return w
}

func (w *writeCounter) write(c *Conn, b []byte) (int, error) {
	w.writes.Add(1)
	return w.carrier.write(c, b)
}

func (w *writeCounter) writeQueue(c *Conn) (int, error) {
	w.writes.Add(1)
	return w.carrier.writeQueue(c)
}

// TestPingsAreAnsweredTogether sends many pings at once: all are answered, with fewer writes.
func TestPingsAreAnsweredTogether(t *testing.T) {
	for _, payload := range []string{"", strings.Repeat("p", maxControl)} {
		var writes *writeCounter
		ts := serve(t, kind{options: Options{Loops: 1}}, func(c *Conn) {
			writes = countWrites(c)
			echo(c)
		})
		c := ts.dial(t)
		startedConn(t, ts)
		ping := frame(true, transport.OpPing, payload)
		n := 40_000 / len(ping)

		release := holdLoop(t, ts)
		c.send(bytes.Repeat(ping, n))
		writes.writes.Store(0)
		release()
		for range n {
			c.expect("pong " + payload)
		}
		turns := n*len(ping)/maxTurn + 2 // pieces may be smaller where the kernel has divided them
		if got := int(writes.writes.Load()); got > 2*turns {
			t.Errorf("%d writes for %d pings of %d bytes, want at most 2 in each of %d turns", got, n, len(payload), turns)
		}
	}
}

// TestPingsOfAPeerThatDoesNotRead: pongs do not fill the queue. Of the pings between two
// messages only the last one is answered.
func TestPingsOfAPeerThatDoesNotRead(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		ts := serve(t, k, func(c *Conn) { c.Start(r) })
		c := ts.dial(t)
		server := startedConn(t, ts)
		large := transport.TextMessage(strings.Repeat("x", 100_000))
		sent := 0
		for ; sent < 160; sent++ { // 16 MB, which is more than any kernel buffers
			if err := server.Send(large); err != nil {
				t.Fatal(err)
			}
		}
		before := server.Queued()
		for i := range 3 {
			var pings []byte
			for j := range 10_000 {
				pings = append(pings, frame(true, transport.OpPing, fmt.Sprint(i, " ", j))...)
			}
			c.send(append(pings, text("end")...))
			r.until(t, "the pings have been read", func() bool { return len(r.log) == i+1 })
			if i < 2 {
				_ = server.SendText(fmt.Sprint("between ", i))
			}
		}
		if n := server.Queued(); n > before+1000 {
			t.Errorf("%d bytes are queued, %d before", n, before)
		}
		for range sent {
			c.expect("text 4" + strings.Repeat("x", 100_000))
		}
		c.expect("pong 0 9999", "text between 0", "pong 1 9999", "text between 1", "pong 2 9999")
		server.Close(transport.CloseNormal)
		c.expect("close 1000")
	})
}

// TestTurns: the messages of two connections are handled in turns, even when one connection ends.
func TestTurns(t *testing.T) {
	const size, n = 100, 400
	for _, leaves := range []bool{false, true} {
		var mu sync.Mutex
		var order []string
		note := func(_ transport.Conn, data []byte) bool {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, string(data))
			return true
		}
		ts := serve(t, kind{options: Options{Loops: 1}}, func(c *Conn) {
			r := newRecorder()
			r.onMessage = note
			c.Start(r)
		})
		many, one := ts.dial(t), ts.dial(t)
		startedConn(t, ts)
		startedConn(t, ts)
		release := holdLoop(t, ts)
		many.send(bytes.Repeat(text(strings.Repeat("m", size)), n))
		if leaves {
			many.Close()
		}
		one.send(text("one"))
		release()
		all := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(order) == n+1
		}
		eventually(t, "all messages are handled", all)
		if i := slices.Index(order, "one"); i > 2*maxTurn/size {
			t.Errorf("%d messages of another connection came first (it leaves: %v)", i, leaves)
		}
	}
}

// TestLargeFrameInOneTurn: a turn does not end inside a frame, so the frame needs no assembly.
func TestLargeFrameInOneTurn(t *testing.T) {
	payload := strings.Repeat("x", 10*maxTurn)
	r := newRecorder()
	ts := serve(t, kind{options: Options{Loops: 1}}, func(c *Conn) { c.Start(r) })
	c := ts.dial(t)
	server := startedConn(t, ts)
	l := ts.poller.Load().loops[0]
	r.onMessage = func(_ transport.Conn, data []byte) bool {
		if &data[0] != &l.buf[2+2+4] {
			t.Error("the message has been copied")
		}
		return false
	}
	release := holdLoop(t, ts)
	message := text(payload)
	c.send(message)
	eventually(t, "the kernel has it", func() bool {
		n, err := unix.IoctlGetInt(int(server.fd), unix.TIOCINQ)
		return n == len(message) && err == nil
	})
	release()
	r.until(t, "it is handled", func() bool { return len(r.log) == 1 })
}
