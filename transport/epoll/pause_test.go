package epoll

import (
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

func TestPauseHoldsBackThePeer(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		r.onMessage = func(c transport.Conn, data []byte) bool {
			if string(data) == "pause" {
				c.Pause()
				c.Pause()
			}
			return false
		}
		conns := make(chan *Conn, 1)
		ts := serve(t, k, func(c *Conn) { c.Start(r); conns <- c })
		c := ts.dial(t)
		server := <-conns
		c.send(append(text("pause"), text("same read")...))
		r.until(t, "both are there", func() bool { return len(r.log) == 2 })

		// The peer can write until the buffers of the kernel are full.
		piece := frame(true, transport.OpBinary, strings.Repeat("x", 64<<10))
		sent := 0
		var rest []byte
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		for {
			n, err := c.Write(piece)
			if err != nil {
				rest = piece[n:]
				break
			}
			if sent++; sent > 2000 {
				t.Fatal("paused connection takes everything")
			}
		}
		r.mu.Lock()
		if len(r.log) != 2 {
			t.Errorf("%d messages while paused", len(r.log)-2)
		}
		r.mu.Unlock()
		if k.tls {
			server.Resume()
			return // a TLS connection cannot be used after a write has failed
		}
		server.Resume()
		c.SetWriteDeadline(time.Now().Add(patience))
		c.send(rest)
		r.until(t, "all are there", func() bool { return len(r.log) == 2+sent+1 })
		if server.Pause(); !server.has(paused) {
			t.Error("second Pause has no effect")
		}
	})
}

func TestCloseWhilePaused(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		conns := make(chan *Conn, 1)
		ts := serve(t, k, func(c *Conn) {
			c.Pause()
			c.Start(r)
			conns <- c
		})
		c := ts.dial(t)
		server := <-conns
		c.send(text("held back"))
		server.Close(transport.CloseNone)
		r.untilClosed(t)
		c.expect("close")
		c.send(frame(true, transport.OpClose, ""))
		c.expect("EOF")
		if len(r.told()) != 0 {
			t.Errorf("handler was told %q", r.told())
		}

		gone := ts.dial(t)
		server = <-conns
		gone.Close()
		eventually(t, "writing fails", func() bool { return server.SendText("lost") == transport.ErrClosed })
		server.Close(transport.CloseNone)
		eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
	})
}
