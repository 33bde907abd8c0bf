package epoll

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/myriad-rt/myriad/transport"
)

// holdLoop makes the only loop of ts wait, once it has handled all pending events, until release is called.
func holdLoop(t *testing.T, ts *testServer) (release func()) {
	t.Helper()
	l := ts.poller.Load().loops[0]
	l.mu.Lock()
	release = sync.OnceFunc(l.mu.Unlock)
	t.Cleanup(release)
	return release
}

// startedConn returns the next connection of ts once it has started.
func startedConn(t *testing.T, ts *testServer) *Conn {
	t.Helper()
	c := <-ts.conns
	eventually(t, "the handshake is answered", func() bool { return c.Queued() == 0 })
	return c
}

// heldReader returns a client and its connection, whose reader is held until release is called, so that a queue
// does not change.
func heldReader(t *testing.T, k kind, r *recorder) (c *client, server *Conn, release func()) {
	t.Helper()
	k.options.Loops = 1
	ts := serve(t, k, func(c *Conn) { c.Start(r) })
	c = ts.dial(t)
	server = startedConn(t, ts)
	if onEpoll(k) {
		return c, server, holdLoop(t, ts)
	}
	held := make(chan struct{})
	r.onMessage = func(_ transport.Conn, data []byte) bool {
		if string(data) == "hold" {
			<-held // which a real handler must not do
		}
		return false
	}
	c.send(text("hold"))
	r.until(t, "the reader is held", func() bool { return len(r.log) == 1 })
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	return c, server, release
}

// fill sends until a queue forms, and returns the number of messages sent.
func fill(c *Conn, m *transport.Message) (sent int) {
	for c.Queued() == 0 {
		c.Send(m)
		sent++
	}
	return sent
}

// TestCorkedBehindAQueue: corked messages wait, although there is room again for the earlier ones.
func TestCorkedBehindAQueue(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		c, server, release := heldReader(t, k, r)
		m := transport.TextMessage(strings.Repeat("x", 10_000))
		sent := fill(server, m)
		server.Cork()
		server.SendText("corked")
		for range sent - 1 {
			c.expect("text 4" + strings.Repeat("x", 10_000))
		}
		c.send(text("more"))
		release()
		r.until(t, "more has been read", func() bool { return slices.Contains(r.log, "text more") })
		server.mu.Lock()
		if server.out == nil {
			t.Error("corked messages are written")
		}
		server.mu.Unlock()
		server.Uncork()
		c.expect("text 4"+strings.Repeat("x", 10_000), "text corked")
		eventually(t, "nothing is to be written", func() bool { return server.Queued() == 0 && !server.has(writing) })
	})
}

// TestUncorkEmptiesTheQueue: the carrier is told to write a queue that Uncork has already written.
func TestUncorkEmptiesTheQueue(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		c, server, release := heldReader(t, k, r)
		m := transport.TextMessage(strings.Repeat("x", 10_000))
		sent := fill(server, m)
		for range sent - 1 {
			c.expect("text 4" + strings.Repeat("x", 10_000))
		}
		eventually(t, "there is room for the rest", func() bool {
			server.Cork()
			server.Uncork()
			return server.Queued() == 0
		})
		c.expect("text 4" + strings.Repeat("x", 10_000))
		release()
		eventually(t, "there is nothing to write any more", func() bool { return !server.has(writing) })
		r.until(t, "the handler is told", func() bool { return r.drains > 0 })
	})
}

// TestCorkDuringAWrite corks a goroutine connection whose writer waits for the peer.
func TestCorkDuringAWrite(t *testing.T) {
	s, err := NewServer(&Options{DisableEpoll: true})
	if err != nil {
		t.Fatal(err)
	}
	peer, conn := net.Pipe()
	t.Cleanup(func() {
		peer.Close()
		s.Close()
	})
	c := newStream(s, conn)
	s.open.Add(1)
	c.Start(echoHandler{})
	c.SendText("before")
	b := make([]byte, 2+len("before"))
	if _, err := io.ReadFull(peer, b[:2]); err != nil { // the writer is at work
		t.Fatal(err)
	}
	c.Cork()
	c.SendText("corked")
	if _, err := io.ReadFull(peer, b[2:]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the writer stops", func() bool { return !c.has(writing) })
	c.Uncork()
	b = make([]byte, 2+len("corked"))
	if _, err := io.ReadFull(peer, b); err != nil || string(b[2:]) != "corked" {
		t.Errorf("read %q, %v", b, err)
	}
}
