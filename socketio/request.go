package socketio

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"
)

// maxDrained is how much of a body that nobody has read is thrown away to keep its connection, in bytes.
const maxDrained = 256 << 10

// keptRequest is a request on a kept connection, and the writer of the response.
type keptRequest struct {
	head
	reply
	conn     *kept
	body     keptBody
	cancel   context.CancelFunc
	hijacked bool
	parked   bool // of interest to the goroutine of ServeHTTP alone

	lost func() // see Park; guarded by conn.mu
}

// serve runs the handlers.
func (r *keptRequest) serve() {
	c := r.conn
	done := false
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			c.keeper.server.opts.Logger.Error("panic while serving a request", "remote", r.request.RemoteAddr, "panic", p, "stack", string(debug.Stack()))
		}
		if !done && !r.hijacked {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.request == r {
				c.closeLocked()
			}
		}
	}()
	c.keeper.server.ServeHTTP(r, &r.request)
	done = true
	switch {
	case r.parked:
		return
	case r.hijacked:
		r.cancel()
		return
	}
	r.body.drain()
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.answerLocked() == nil && c.state == reading {
		c.readLocked()
	}
}

// answerLocked sends the response. An error says that the client has gone.
func (r *keptRequest) answerLocked() error {
	c := r.conn
	if c.request != r {
		return net.ErrClosed
	}
	c.last = c.last || r.body.left > 0 || r.header.Get("Connection") == "close"
	c.request = nil
	r.cancel()
	b := replies.Get()
	defer replies.Put(b)
	r.append(b, c.last || c.keeper.stopping.Load())
	c.out = b.B
	err := c.writeLocked()
	if len(c.out) > 0 {
		c.out = bytes.Clone(c.out)
	}
	return err
}

// Park implements [polling.Parker].
func (r *keptRequest) Park(lost func()) {
	c := r.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	r.parked = true
	r.lost = lost
	if c.request != r {
		go lost()
	} else if c.gone {
		go c.HandleEvents(0)
	}
}

// Unpark implements [polling.Parker].
func (r *keptRequest) Unpark() error {
	c := r.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	err := r.answerLocked()
	if c.state == reading && (c.more || len(c.in) > 0) {
		go c.HandleEvents(0)
	}
	return err
}

// SetReadDeadline is for http.ResponseController.
func (r *keptRequest) SetReadDeadline(t time.Time) error {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	r.body.deadline = t
	r.body.wake()
	return nil
}

// Hijack implements http.Hijacker.
func (r *keptRequest) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := r.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.hijacked:
		return nil, nil, http.ErrHijacked
	case c.request != r:
		return nil, nil, net.ErrClosed
	}
	r.hijacked = true
	ahead := c.in
	c.leaveLocked()
	if len(ahead) == 0 {
		return c.conn, nil, nil // only the transport asks, which writes to the connection itself
	}
	reader := bufio.NewReader(bytes.NewReader(ahead))
	_, _ = reader.Peek(len(ahead)) // they are there
	return c.conn, bufio.NewReadWriter(reader, nil), nil
}

// keptBody is the body of a request. Its fields are guarded by conn.mu.
type keptBody struct {
	conn     *kept
	request  *keptRequest
	left     int64 // bytes that have not been read
	deadline time.Time
	waiting  chan struct{} // closed by wake
}

// wake has a Read that waits look again.
func (b *keptBody) wake() {
	if b.waiting != nil {
		close(b.waiting)
		b.waiting = nil
	}
}

// Read implements io.Reader.
func (b *keptBody) Read(p []byte) (int, error) {
	c := b.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.request != b.request:
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

// waitLocked waits until something has come, or the deadline.
func (b *keptBody) waitLocked() {
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
func (b *keptBody) Close() error { return nil }

// drain takes what the handlers have left off the connection, if that is little.
func (b *keptBody) drain() {
	b.conn.mu.Lock()
	left := b.left
	b.deadline = time.Now().Add(handshakeTimeout)
	b.conn.mu.Unlock()
	if left > 0 && left <= maxDrained {
		_, _ = io.Copy(io.Discard, b) // what is left then is noticed
	}
}
