package httpserver

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/myriad-rt/myriad/transport/polling"
)

// An unread body is discarded to keep its connection, if it has no more than maxDrained bytes and arrives within
// drainTimeout.
const (
	maxDrained   = 256 << 10
	drainTimeout = 10 * time.Second
)

// exchange is a request on a conn and its response writer.
type exchange struct {
	head
	reply
	conn     *conn
	body     body
	cancel   context.CancelFunc
	hijacked bool
	parks    bool   // owned by the goroutine of serve
	lost     func() // see Park; guarded by conn.mu
}

var _ polling.Parker = (*exchange)(nil)

// serve calls the Handler.
func (x *exchange) serve() {
	c := x.conn
	done := false
	defer func() {
		if !done && !x.hijacked { // panic or runtime.Goexit
			c.mu.Lock()
			defer c.unlock()
			if c.current == x || c.parked == x {
				c.closeLocked()
			}
		}
	}()
	switch done = c.server.serveHTTP(x, &x.request); {
	case !done || x.parks:
		return
	case x.hijacked:
		x.cancel()
		return
	}
	x.body.drain()
	c.mu.Lock()
	defer c.unlock()
	if c.answerLocked(x) == nil {
		c.advanceLocked()
	}
}

// Park implements [polling.Parker].
func (x *exchange) Park(lost func()) {
	c := x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	x.parks, x.lost = true, lost
	if c.current != x {
		go lost()
		return
	}
	c.current, c.parked, c.state = nil, x, reading
	if c.more || c.gone || len(c.in) > 0 {
		go c.handle(0)
	}
}

// Unpark implements [polling.Parker].
func (x *exchange) Unpark() error {
	c := x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.answerLocked(x)
	if c.state == reading && (c.more || len(c.in) > 0) {
		go c.handle(0)
	}
	return err
}

// SetReadDeadline is for http.ResponseController.
func (x *exchange) SetReadDeadline(t time.Time) error {
	x.conn.mu.Lock()
	defer x.conn.mu.Unlock()
	x.body.deadline = t
	x.body.wake()
	return nil
}

// Hijack implements http.Hijacker.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case x.hijacked:
		return nil, nil, http.ErrHijacked
	case c.current != x:
		return nil, nil, net.ErrClosed
	case c.parked != nil || len(c.out) > 0: // an earlier response is pending
		return nil, nil, http.ErrNotSupported
	}
	x.hijacked = true
	ahead := c.in
	c.leaveLocked()
	return c.socket, buffered(ahead), nil
}

// body is the body of a request. Its fields are guarded by conn.mu.
type body struct {
	conn     *conn
	exchange *exchange
	left     int64 // unread bytes
	deadline time.Time
	waiting  chan struct{} // closed by wake
}

// wake makes a waiting Read check again.
func (b *body) wake() {
	if b.waiting != nil {
		close(b.waiting)
		b.waiting = nil
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	c := b.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.current != b.exchange:
			return 0, http.ErrBodyReadAfterClose
		case b.left == 0:
			return 0, io.EOF
		case !b.deadline.IsZero() && !time.Now().Before(b.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		p = p[:min(int64(len(p)), b.left)]
		n := copy(p, c.in)
		if n > 0 {
			if c.in = c.in[n:]; len(c.in) == 0 {
				c.in = nil
			}
		} else if c.more {
			var err error
			if n, err = c.receiveLocked(p); err != nil {
				return 0, io.ErrUnexpectedEOF
			}
		}
		if n > 0 {
			b.left -= int64(n)
			return n, nil
		}
		if !c.more {
			b.waitLocked()
		}
	}
}

// waitLocked waits until bytes arrive or the deadline passes.
func (b *body) waitLocked() {
	waiting := make(chan struct{})
	b.waiting = waiting
	var due <-chan time.Time
	if !b.deadline.IsZero() {
		timer := time.NewTimer(time.Until(b.deadline))
		defer timer.Stop()
		due = timer.C
	}
	b.conn.mu.Unlock()
	defer b.conn.mu.Lock()
	select {
	case <-waiting:
	case <-due:
	}
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }

// drain discards the body that the handler left unread, if it is small.
func (b *body) drain() {
	b.conn.mu.Lock()
	left := b.left
	b.deadline = time.Now().Add(drainTimeout)
	b.conn.mu.Unlock()
	if left > 0 && left <= maxDrained {
		_, _ = io.Copy(io.Discard, b) // the rest is noticed
	}
}
