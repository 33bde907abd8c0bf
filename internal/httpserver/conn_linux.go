package httpserver

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/internal/wheel"
)

const (
	// answerTimeout bounds the time without progress while a response is written.
	answerTimeout = 30 * time.Second
	// lingerTimeout is how long a connection stays half-open after a response that leaves part of the request
	// unread. If it were closed at once, the client might lose the response.
	lingerTimeout = time.Second
	// maxHeld bounds the responses held behind a parked request, in bytes. Beyond it no more requests are read.
	maxHeld = 64 << 10
)

// conn is a connection that speaks HTTP/1.1.
//
//	          head complete           answered
//	reading ──────────────▶ serving ──────────▶ reading
//	   │                                           │ last answer, part of the request unread
//	   └─ net/http ──▶ left ◀── timeout, client ── lingering
//
// A parked request leaves the connection in state reading and waits in parked. A POST behind it is served, and its
// response is appended to held; any other request must wait. No head is read while out is not empty.
type conn struct {
	server *Server
	socket *socket
	id     uint64 // key in the watcher
	timer  wheel.Timer

	mu      sync.Mutex
	state   state
	more    bool // there may be unread bytes
	gone    bool // the client sends no more, or has left
	begun   bool // part of a head has been read
	barred  bool // the next request must wait until parked has been answered
	last    bool // no more requests are read
	current *exchange
	parked  *exchange
	lost    func()    // called by unlock
	due     time.Time // when the connection is closed; zero means never
	alarm   time.Time // when timer expires; zero means never
	in      []byte    // read, not yet used
	out     []byte    // responses, not yet written
	held    []byte    // responses behind the one to parked
}

type state uint8

const (
	reading   state = iota // a request, if any bytes of it have arrived
	serving                // a request is being answered
	lingering              // until the client has seen the response
	left                   // closed, or handed over
)

// keep takes over a new connection. ahead holds the bytes already read from it.
func (s *Server) keep(socket *socket, ahead []byte) {
	c := &conn{server: s, socket: socket, in: ahead, begun: true}
	c.mu.Lock()
	defer c.unlock()
	if !s.own.add(c) {
		socket.Close()
		return
	}
	c.limitLocked(s.config.HeadTimeout)
	c.readLocked()
}

// unlock releases c.mu. If the client of a parked request has left, unlock then calls lost: the owner of the
// request acquires its own locks.
func (c *conn) unlock() {
	lost := c.lost
	c.lost = nil
	c.mu.Unlock()
	if lost != nil {
		lost()
	}
}

// handle processes events. The caller must not hold a lock that a handler acquires.
func (c *conn) handle(e events) {
	c.mu.Lock()
	defer c.unlock()
	c.more = c.more || e&readable != 0
	c.gone = c.gone || e&gone != 0
	switch {
	case c.state == left:
	case e&failed != 0:
		c.closeLocked()
	case c.current != nil:
		c.current.body.wake()
		if c.gone {
			c.current.cancel()
		}
	case c.state == lingering:
		c.lingerLocked()
	}
	c.advanceLocked()
}

// advanceLocked writes pending bytes, and reads the next request if it is due.
func (c *conn) advanceLocked() {
	if len(c.out) > 0 && c.writeLocked() != nil {
		return
	}
	if c.state != reading || len(c.out) > 0 {
		return
	}
	switch {
	case c.server.own.stopping.Load() && c.parked == nil:
		c.closeLocked()
	case c.gone && c.parked != nil && (c.barred || c.last):
		c.closeLocked()
	case !c.barred && !c.last && (c.more || len(c.in) > 0):
		c.readLocked()
	}
}

// Expire implements [wheel.Task].
func (c *conn) Expire() {
	c.mu.Lock()
	defer c.unlock()
	c.alarm = time.Time{}
	switch now := time.Now(); {
	case c.due.IsZero():
	case now.Before(c.due):
		c.alarmLocked(c.due.Sub(now))
	default:
		c.closeLocked()
	}
}

// limitLocked closes the connection after d unless it is called again first. With d <= 0 there is no limit.
func (c *conn) limitLocked(d time.Duration) {
	c.due = time.Time{}
	if d <= 0 {
		return
	}
	c.due = time.Now().Add(d)
	if c.alarm.IsZero() || c.due.Before(c.alarm) {
		c.alarmLocked(d)
	}
}

func (c *conn) alarmLocked(d time.Duration) {
	c.alarm = c.due
	c.server.config.Wheel.Schedule(&c.timer, d, c)
}

// restLocked limits the time that c may spend in its current state, with nothing to write.
func (c *conn) restLocked() {
	if c.current != nil || c.parked != nil {
		c.limitLocked(0)
	} else {
		c.limitLocked(c.server.config.IdleTimeout)
	}
}

// leaveLocked gives up the connection. The descriptor then belongs to the caller.
func (c *conn) leaveLocked() {
	c.state = left
	c.server.config.Wheel.Stop(&c.timer)
	c.server.own.remove(c)
	c.due = time.Time{}
	c.in, c.out, c.held, c.current, c.parked = nil, nil, nil, nil, nil
}

func (c *conn) closeLocked() {
	if c.state == left {
		return
	}
	if r := c.current; r != nil {
		r.cancel()
		r.body.wake()
	}
	if r := c.parked; r != nil {
		r.cancel()
		c.lost = r.lost
	}
	c.leaveLocked()
	c.socket.Close()
}

// readLocked reads the head of a request and starts serving it once it is complete.
func (c *conn) readLocked() {
	b := scratch.Get().(*[maxHead]byte)
	defer scratch.Put(b)
	n := copy(b[:], c.in)
	for {
		// Empty lines before a request are ignored, RFC 9112 section 2.2.
		if line := n - len(bytes.TrimLeft(b[:n], "\r\n")); line > 0 {
			n = copy(b[:], b[line:n])
		}
		if end := bytes.Index(b[:n], headEnd); end >= 0 {
			end += len(headEnd)
			c.in = bytes.Clone(b[end:n])
			c.beginLocked(string(b[:end]))
			return
		}
		if n == len(b) || bytes.Contains(b[:n], []byte("\n\n")) {
			c.in = bytes.Clone(b[:n])
			c.giveLocked()
			return
		}
		if !c.more {
			break
		}
		m, err := c.receiveLocked(b[n:])
		if err != nil {
			c.closeLocked()
			return
		}
		n += m
	}
	if n > 0 && !c.begun {
		c.begun = true
		c.limitLocked(c.server.config.HeadTimeout)
	}
	if n != len(c.in) {
		c.in = bytes.Clone(b[:n])
	}
}

// receiveLocked reads the available bytes, possibly none.
func (c *conn) receiveLocked(p []byte) (int, error) {
	n, err := c.socket.Read(p)
	if err == errWouldBlock {
		c.more = false
		return 0, nil
	}
	// After a short read there is nothing left but the end of the stream, if it has been seen.
	c.more = n == len(p) || c.gone
	return n, err
}

// giveLocked hands the connection over to net/http, unless a request is parked.
func (c *conn) giveLocked() {
	if c.parked != nil {
		c.barLocked()
		return
	}
	ahead := c.in
	c.leaveLocked()
	go c.server.give(c.socket, ahead)
}

// barLocked makes the next request wait until the parked one has been answered.
func (c *conn) barLocked() {
	c.barred, c.begun = true, false
	c.limitLocked(0)
	if c.gone {
		c.closeLocked()
	}
}

func (s *Server) give(c *socket, ahead []byte) {
	if c.block() != nil {
		return
	}
	s.own.rest.give(&readConn{socket: c, ahead: ahead})
}

// readConn is a connection whose first bytes, ahead, have already been read.
type readConn struct {
	*socket
	ahead []byte
}

// Read implements net.Conn.
func (c *readConn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.socket.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// Detach implements [epoll.Detacher].
func (c *readConn) Detach() int {
	if len(c.ahead) > 0 {
		return -1
	}
	return c.socket.Detach()
}

// beginLocked serves the request with this head. Its body, if any, follows in c.in.
func (c *conn) beginLocked(text string) {
	x := &exchange{conn: c, head: head{request: http.Request{Header: make(http.Header)}}}
	r := &x.request
	plain := x.parse(text) && c.server.config.Plain(r)
	if c.parked != nil {
		plain = plain && r.Method == http.MethodPost && r.Header["Upgrade"] == nil
	}
	if !plain {
		c.in = append([]byte(text), c.in...)
		c.giveLocked()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.cancel = cancel
	*r = *r.WithContext(ctx)
	r.RemoteAddr = c.socket.RemoteAddr().String()
	x.body = body{conn: c, exchange: x, left: r.ContentLength}
	if x.body.left > 0 {
		r.Body = &x.body
	}
	c.begun, c.last = false, r.Close
	c.state, c.current = serving, x
	c.restLocked()
	go x.serve()
}

// answerLocked sends the response of x, or holds it until its turn. It returns an error if the client has left.
func (c *conn) answerLocked(x *exchange) error {
	closes := c.last || x.header.Get("Connection") == "close" || c.server.own.stopping.Load()
	switch x {
	case c.current:
		c.last = closes || x.body.left > 0
		c.current, c.state = nil, reading
	case c.parked:
		c.last = closes && c.current == nil && len(c.held) == 0
		c.parked, c.barred = nil, false
	default:
		return net.ErrClosed
	}
	x.cancel()
	b := replies.Get()
	defer replies.Put(b)
	x.append(b, c.last && c.current == nil)
	if c.parked != nil {
		c.held = append(c.held, b.B...)
		c.barred = c.barred || len(c.held) > maxHeld
		return nil
	}
	b.B = append(b.B, c.held...)
	c.held = nil
	if len(c.out) > 0 {
		c.out = append(c.out, b.B...)
		return nil
	}
	c.out = b.B
	err := c.writeLocked()
	if len(c.out) > 0 {
		c.out = bytes.Clone(c.out)
	}
	return err
}

// writeLocked writes as much of out as the kernel accepts. It returns an error if the client has left.
func (c *conn) writeLocked() error {
	n, err := c.socket.tryWrite(c.out)
	if err != nil {
		c.closeLocked()
		return err
	}
	if c.out = c.out[n:]; len(c.out) > 0 {
		if n > 0 || c.due.IsZero() {
			c.limitLocked(answerTimeout)
		}
		return nil
	}
	c.out = nil
	switch {
	case c.current != nil || c.parked != nil || !c.last:
		c.restLocked()
	case c.more || len(c.in) > 0:
		c.state, c.in = lingering, nil
		_ = c.socket.CloseWrite() // on failure the client has left
		c.limitLocked(lingerTimeout)
		c.lingerLocked()
	default:
		c.closeLocked()
	}
	return nil
}

// lingerLocked discards input until the client has seen the response.
func (c *conn) lingerLocked() {
	b := scratch.Get().(*[maxHead]byte)
	defer scratch.Put(b)
	for c.more && c.state == lingering {
		if _, err := c.receiveLocked(b[:]); err != nil {
			c.closeLocked()
		}
	}
}
