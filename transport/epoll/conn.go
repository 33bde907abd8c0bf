package epoll

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/transport"
)

// State of a Conn. The first row shows a connection ended by Close; each flag is added to the previous ones:
//
//	0 ─ started ─ closing ──────── received ── dead     Close, then the peer's close frame
//	                 ├──────────── received ── dead     the peer's close frame, answered
//	                 ├─ failed ─── halfClosed ─ broken ─ dead     protocol error, then the peer ends TCP
//	                 └─ broken ─────────────── dead     Abort, time-out, slow peer, TCP connection lost
//
// closing means that HandleClose is due, and told that it has been called. The other flags concern the carrier
// alone.
const (
	started    = 1 << iota // the carrier reads
	paused                 // no reading until Resume, or until the peer cannot send any more
	ended                  // the peer has ended its stream; earlier bytes may still be unread
	closing                // no more sending or delivery of messages
	failed                 // a close frame reported a protocol error; the peer's bytes are ignored
	received               // the peer's close frame has arrived, ours is sent or queued
	halfClosed             // TCP is shut down for writing
	mute                   // the peer receives no more; its earlier bytes may still be unread
	broken                 // close without waiting for anything
	dead                   // closed
	told                   // HandleClose has been called
	signalled              // the carrier will process the Conn
	timed                  // the carrier closes it after CloseTimeout
	reading                // epoll: armed for reading
	writing                // epoll: armed for writing; goroutine: the writer runs
	corked                 // messages are held back in the queue
	gathering              // epoll: c has its turn; the queue is written at the end
	preceded               // something was written in this turn; later messages may be held back

	// formatShift is the position of the transport.Format, which never changes.
	formatShift = 24

	// deaf means that the peer's bytes are ignored from now on.
	deaf = failed | received | broken | dead
)

// Conn is one WebSocket connection. It implements [transport.Conn]. The package documentation describes how its
// Handler is called.
type Conn struct {
	mu      sync.Mutex
	state   atomic.Uint32
	fd      int32             // epoll: descriptor, -1 once closed
	by      *carrier          // moves the bytes; a pointer takes half the space of the interface
	handler transport.Handler // changed only by its callers; nil after HandleClose
	in      *incoming         // owned by the callers of handler

	out        *queue   // nil if nothing is queued
	err        *error   // for HandleClose; nil if there is none
	deflate    *deflate // nil if permessage-deflate has not been negotiated; immutable
	slot       uint32
	generation uint32 // epoll: identifies the Conn in its loop, with slot; 0 before Start
}

var _ transport.Conn = (*Conn)(nil)

// carrier moves the bytes of a Conn. All methods except server are called with Conn.mu held. They do not block and
// do not call the Handler.
type carrier interface {
	server() *Server
	// start begins reading and writes the queue. If it cannot, it ends c.
	start(c *Conn)
	// write writes as much of b as possible without waiting. The queue is empty.
	write(c *Conn, b []byte) (n int, err error)
	// writeQueue writes as much of the queue as possible without waiting.
	writeQueue(c *Conn) (n int, err error)
	// watch makes the carrier read unless c is paused, and write the queue unless c is corked.
	watch(c *Conn)
	// signal makes the carrier act on closing and broken soon.
	signal(c *Conn)
	// slack returns the number of bytes that may be queued although the kernel may accept more.
	slack() int
	// heard reports whether the peer's host has been heard from within the given time.
	heard(c *Conn, within time.Duration) bool
	// unread reports whether bytes of the peer wait in the kernel, or have been read and not been handled.
	unread(c *Conn) bool
}

func (c *Conn) carrier() carrier { return *c.by }

func (c *Conn) options() *Options { return &c.carrier().server().options }

func (c *Conn) format() transport.Format { return transport.Format(c.state.Load() >> formatShift) }

func (c *Conn) has(flags uint32) bool { return c.state.Load()&flags != 0 }

// Start sends the handshake response and all earlier messages in one write, and begins reading for h. It must be
// called once. If the connection has already closed, only h.HandleClose is called.
//
// h may be called before Start returns, but never on the goroutine of Start.
func (c *Conn) Start(h transport.Handler) {
	if h == nil {
		panic("epoll: Start with a nil Handler")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler = h
	if c.has(closing) {
		c.signal()
		return
	}
	c.startLocked()
	if c.carrier().server().closing.Load() {
		c.closeLocked(transport.CloseGoingAway)
	}
}

// startLocked writes the queue and begins reading.
func (c *Conn) startLocked() {
	c.flushLocked()
	c.state.Or(started)
	c.carrier().start(c)
}

// SetHandler makes h the Handler for all messages after the current one. Only HandleMessage may call it, on its own
// goroutine. If an earlier message of the same read requested Run, h.Run is called.
func (c *Conn) SetHandler(h transport.Handler) { c.handler = h }

// Send implements [transport.Conn].
func (c *Conn) Send(m *transport.Message) error {
	if c.deflate != nil && !m.NoCompress {
		return c.sendMessageDeflated(m)
	}
	frames := m.Frames(c.format())
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendLocked(frames, m)
}

// SendText implements [transport.Conn].
func (c *Conn) SendText(payload string) error {
	b := buffers.Get()
	defer buffers.Put(b)
	b.B = append(transport.AppendHeader(b.B, transport.OpText, len(payload)), payload...)
	if c.deflate != nil {
		return c.sendDeflated(b.B)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendLocked(b.B, nil)
}

var buffers bufpool.Pool

// sendFrameLocked sends one frame unless the connection is closing.
func (c *Conn) sendFrameLocked(op transport.Op, payload []byte) {
	b := buffers.Get()
	defer buffers.Put(b)
	b.B = append(transport.AppendHeader(b.B, op, len(payload)), payload...)
	c.sendLocked(b.B, nil)
}

// unsentLocked reports whether the carrier has bytes to write. Corked bytes do not count.
func (c *Conn) unsentLocked() bool { return c.out != nil && !c.has(corked) }

// Writable implements [transport.Conn]. It is false before Start and after the connection has closed.
func (c *Conn) Writable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.has(closing | mute) {
		return false
	}
	return c.out == nil || c.state.Load()&(started|corked) == started && c.out.size <= c.carrier().slack()
}

// Queued implements [transport.Conn].
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queuedLocked()
}

func (c *Conn) queuedLocked() int {
	if c.out == nil {
		return 0
	}
	return c.out.size
}

// Unread reports whether the peer may have sent bytes that have not been handled: they wait in the kernel, because the
// loop is busy with other connections or this one is paused, or have just been read. It returns false after the end
// of the stream.
func (c *Conn) Unread() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.has(dead) && c.carrier().unread(c)
}

// Cork implements [transport.Conn].
func (c *Conn) Cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.has(closing) {
		c.state.Or(corked)
	}
}

// Uncork implements [transport.Conn].
func (c *Conn) Uncork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uncorkLocked()
}

func (c *Conn) uncorkLocked() {
	if c.has(corked) {
		c.state.And(^uint32(corked))
		c.writeOutLocked()
	}
}

// releaseLocked ends all holding back: from now on only the kernel delays writes.
func (c *Conn) releaseLocked() {
	c.state.And(^uint32(corked | gathering))
	c.writeOutLocked()
}

// Pause implements [transport.Conn].
func (c *Conn) Pause() { c.setPaused(true) }

// Resume implements [transport.Conn].
func (c *Conn) Resume() { c.setPaused(false) }

func (c *Conn) setPaused(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !yes {
		c.resumeLocked()
	} else if !c.has(closing | ended | mute | paused) {
		c.state.Or(paused)
		if c.has(started) {
			c.carrier().watch(c)
		}
	}
}

func (c *Conn) resumeLocked() {
	if c.has(paused) {
		c.state.And(^uint32(paused))
		if c.has(started) {
			c.carrier().watch(c)
		}
	}
}

// streamEnded is called when the peer has ended its stream. Bytes held by the kernel are read even if c is paused.
func (c *Conn) streamEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Or(ended)
	c.resumeLocked()
}

// Alive implements [transport.Conn].
func (c *Conn) Alive(within time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.has(ended|mute|broken|dead) && c.carrier().heard(c, within)
}

// Close implements [transport.Conn]. HandleClose follows at once, on another goroutine. The peer must answer within
// Options.CloseTimeout. Before Start, Close sends the handshake response first.
func (c *Conn) Close(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLocked(code)
}

func (c *Conn) closeLocked(code int) {
	if c.has(closing) {
		return
	}
	c.releaseLocked()
	var payload [2]byte
	c.sendFrameLocked(transport.OpClose, appendCode(payload[:0], code))
	c.endLocked(0, nil)
	if !c.has(started | broken) {
		c.startLocked()
	}
}

// Abort implements [transport.Conn].
func (c *Conn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(broken, nil)
}

// Shed implements [transport.Queue]. HandleClose follows with transport.ErrSlowPeer, on another goroutine.
func (c *Conn) Shed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil {
		c.shedLocked()
	}
}

// shedLocked drops the queue and ends the connection because its peer does not read.
func (c *Conn) shedLocked() {
	c.carrier().server().slowPeers.Add(1)
	c.discardLocked()
	err := transport.ErrSlowPeer
	c.err = &err // even if c is already closing: the carrier then also drops the bytes that the kernel holds
	c.endLocked(broken, nil)
}

// fail ends the connection because the peer violated the protocol.
func (c *Conn) fail(err *transport.ProtocolError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.has(closing) {
		c.endLocked(broken, nil)
		return
	}
	c.carrier().server().protocolErrors.Add(1)
	c.releaseLocked()
	var payload [2]byte
	c.sendFrameLocked(transport.OpClose, appendCode(payload[:0], err.Code))
	c.endLocked(failed, err)
}

// peerClosed handles a valid close frame. As in the reference, the response repeats code and reason.
func (c *Conn) peerClosed(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.has(closing) {
		c.releaseLocked()
		c.sendFrameLocked(transport.OpClose, payload)
	}
	c.endLocked(received, nil)
}

// lost ends the connection because it can no longer be read. err is nil if the peer ended it.
func (c *Conn) lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(broken, err)
}

// endLocked adds closing and flags to the state and makes the carrier act on them. err goes to the handler unless
// the connection is already closing.
func (c *Conn) endLocked(flags uint32, err error) {
	if !c.has(closing) && err != nil {
		kept := err // moves err to the heap in this case only
		c.err = &kept
	}
	if c.has(mute) {
		flags |= broken
	}
	c.state.Or(closing | flags)
	if c.deflate != nil {
		c.deflate.sent = nil // no more compression
	}
	c.resumeLocked() // the peer's close frame must be read
	c.signal()
}

// signal makes the carrier call dutiesLocked soon.
func (c *Conn) signal() {
	if !c.has(signalled) {
		c.state.Or(signalled)
		c.carrier().signal(c)
	}
}

// isSlowLocked reports whether the connection was ended because its peer does not read.
func (c *Conn) isSlowLocked() bool { return c.err != nil && *c.err == transport.ErrSlowPeer }

// dutiesLocked returns the pending work of the carrier for a signalled Conn. If tell is not nil, the caller must
// call HandleClose with err; no other call returns it again.
func (c *Conn) dutiesLocked() (tell transport.Handler, act action, err error) {
	state := c.state.Load()
	if state&closing == 0 {
		return nil, actNone, nil
	}
	if state&told == 0 && c.handler != nil {
		c.state.Or(told)
		tell, c.handler = c.handler, nil
		if c.err != nil {
			err = *c.err
		}
	}
	switch {
	case state&dead != 0:
	case state&broken != 0, state&received != 0 && c.out == nil:
		act = actClose
	case state&failed != 0 && state&halfClosed == 0 && c.out == nil:
		// Closing at once would answer further bytes with a reset, and the peer might lose the close frame.
		c.state.Or(halfClosed)
		act = actHalfClose
	}
	return tell, act, err
}

type action uint8

const (
	actNone action = iota
	actHalfClose
	actClose
)

// appendCode appends the payload of a close frame.
func appendCode(dst []byte, code int) []byte {
	if code == transport.CloseNone {
		return dst
	}
	return append(dst, byte(code>>8), byte(code))
}
