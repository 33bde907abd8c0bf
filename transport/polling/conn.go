package polling

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
)

// These errors end a session with a transport error. The texts are the reference's.
var (
	ErrOverlap     = errors.New("overlap from client")
	ErrPostOverlap = errors.New("data request overlap from client")
	ErrContent     = errors.New("invalid content")
	ErrPollClosed  = errors.New("poll connection closed prematurely")
	ErrPostClosed  = errors.New("data request connection closed prematurely")
)

// Config is shared by all sessions of a server. It must not change once it is in use.
type Config struct {
	// MaxBodyBytes is the largest accepted POST body in bytes.
	MaxBodyBytes int
	// MaxQueuedBytes bounds the queue for the next GET of a session, in bytes. Each message counts for its payload
	// plus 64 bytes.
	MaxQueuedBytes int
	// CompressFrom is the smallest body in bytes that is compressed if the client accepts it. Negative disables
	// compression.
	CompressFrom int
	// Header, if not nil, may change the header of a successful response just before it is written.
	Header func(h http.Header, r *http.Request)
}

// Handler receives the events of a Conn. No method may block. HandlePacket and HandlePosted are called one at a
// time; the others may be called at any time.
type Handler interface {
	// HandlePacket handles the next packet of a POST. p.Data is valid until it returns. If it returns false, the
	// rest of the body is dropped.
	HandlePacket(p packet.Packet) (more bool)

	// HandlePosted is called after the last packet of a POST, before the response. err is not nil if the body could
	// not be decoded to its end.
	HandlePosted(err error)

	// HandleDrain is called when the queue has been passed to a GET.
	HandleDrain()

	// HandleError is called when a request violates the protocol or is interrupted, which ends the session.
	HandleError(err error)

	// HandlePanic is called when Config.Header has panicked on a goroutine started by the Conn, which ends the
	// session.
	HandlePanic(panicked any, stack []byte)

	// HandleEnd is called when a closing Conn has sent its close packet and ended.
	HandleEnd()
}

// Params select the encoding of a session's packets. They follow from the first request of the session.
type Params struct {
	V3     bool   // Engine.IO protocol v3 instead of v4
	Base64 bool   // v3: the client cannot take binary bodies
	JSONP  bool   // answer with scripts
	Index  string // JSONP: index of the callback; characters other than digits are dropped
}

// Conn is the long-polling side of one session. All methods are safe for concurrent use.
//
//	           Close, a GET waits
//	   ┌─────────────────────────────────┐
//	open ──Close──▶ closing ──last GET──▶ ended
//	   └──────────────End, Detach────────▶
type Conn struct {
	config  *Config
	handler Handler
	index   string
	v3      bool
	base64  bool
	jsonp   bool

	dispatch sync.Mutex // held while packets are delivered; acquired before mu
	frozen   bool       // guarded by dispatch: no more packets are delivered

	mu     sync.Mutex
	state  state
	paused bool
	corked bool
	get    *get          // waiting
	post   *post         // being received or held back
	resume chan struct{} // closed when a POST is no longer held back
	queue  []item
	queued int // bytes
}

type state uint8

const (
	stateOpen state = iota
	stateClosing
	stateEnded
)

// item is a message or, if message is nil, a packet without data.
type item struct {
	message *transport.Message
	kind    packet.Type
}

// itemBytes is the cost of an item in addition to its payload.
const itemBytes = 64

func (i item) size() int {
	if i.message == nil {
		return itemBytes
	}
	return itemBytes + i.message.Size()
}

// post is a POST request without a response yet.
type post struct {
	controller *http.ResponseController
	received   bool
	cut        bool
}

// New returns an open Conn.
func New(config *Config, handler Handler, p Params) *Conn {
	c := &Conn{config: config, handler: handler, v3: p.V3, base64: p.Base64 || p.JSONP, jsonp: p.JSONP}
	if p.JSONP {
		c.index = digits(p.Index)
	}
	return c
}

// Send passes m to the waiting GET or queues it for the next one. m is copied unless it is shared, so the caller
// may release it. Send returns transport.ErrClosed if c is not open. If the queue would exceed its limit, Send
// queues nothing and returns transport.ErrSlowPeer; the caller must then end c.
func (c *Conn) Send(m *transport.Message) error { return c.send(item{message: m}) }

// SendPacket is like Send for a packet without data.
func (c *Conn) SendPacket(t packet.Type) error { return c.send(item{kind: t}) }

func (c *Conn) send(i item) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state != stateOpen:
		return transport.ErrClosed
	case c.get != nil && !c.corked:
		c.answerLocked(i)
		return nil
	case c.queued+i.size() > c.config.MaxQueuedBytes:
		return transport.ErrSlowPeer
	}
	if i.message != nil {
		i.message = i.message.Share()
	}
	c.queue = append(c.queue, i)
	c.queued += i.size()
	return nil
}

// Writable reports whether a GET is waiting, so that a message sent now need not be queued.
func (c *Conn) Writable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get != nil && !c.corked
}

// Cork holds messages back until Uncork, Close or End, so that one GET gets all of them. Calls do not nest.
func (c *Conn) Cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = c.state == stateOpen
}

// Uncork undoes Cork.
func (c *Conn) Uncork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uncorkLocked()
}

func (c *Conn) uncorkLocked() {
	if c.corked && c.get != nil && len(c.queue) > 0 {
		c.deliverLocked(c.takeLocked())
	}
	c.corked = false
}

// Queued reports whether anything is queued for the next GET.
func (c *Conn) Queued() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

// Release answers a waiting GET with a noop packet, so that the client can stop polling.
func (c *Conn) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.get != nil {
		c.answerLocked(item{kind: packet.Noop})
	}
}

// Pause holds back the responses to POST requests until Resume; a client sends its next POST only after the
// previous response. Calls do not nest.
func (c *Conn) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = true
}

// Resume undoes Pause.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = false
	c.resumeLocked()
}

// Close ends c gracefully: the queue is delivered, followed by a close packet. It reports whether both could be
// done at once; if not, HandleEnd is called later. A Conn whose client sends no more GETs stays in this state until
// End. Packets are still delivered; a close packet from the client ends the session early.
func (c *Conn) Close() (ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uncorkLocked()
	if c.state == stateOpen {
		c.state = stateClosing
		c.resumeLocked()
		if c.get != nil {
			c.answerLocked(item{kind: packet.Close})
			c.endLocked()
		}
	}
	return c.state == stateEnded
}

// End ends c at once: a waiting GET is answered with a packet of type t, a POST in progress is interrupted, and the
// queue is not delivered. Unsent returns the messages left in the queue.
func (c *Conn) End(t packet.Type) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uncorkLocked()
	if c.get != nil {
		c.answerLocked(item{kind: t})
	}
	c.endLocked()
}

// Freeze stops the delivery of packets and waits until a delivery in progress has finished. It must not be called
// from HandlePacket or HandlePosted.
func (c *Conn) Freeze() {
	c.dispatch.Lock()
	defer c.dispatch.Unlock()
	c.frozen = true
}

// Detach ends c because another transport takes over. The queue is passed to message and control, in order. They
// are called before Detach returns and must not use c.
func (c *Conn) Detach(message func(*transport.Message), control func(packet.Type)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	queue := c.queue
	if c.get != nil {
		c.answerLocked(item{kind: packet.Close})
	}
	c.endLocked()
	c.queue, c.queued = nil, 0
	for _, i := range queue {
		if i.message != nil {
			message(i.message)
		} else {
			control(i.kind)
		}
	}
}

// Unsent returns the messages that were queued when c ended, until Forget. They must not be changed.
func (c *Conn) Unsent() []*transport.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	var unsent []*transport.Message
	for _, i := range c.queue {
		if i.message != nil {
			unsent = append(unsent, i.message)
		}
	}
	return unsent
}

// Forget drops the queue of a Conn that has ended.
func (c *Conn) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue, c.queued = nil, 0
}

func (c *Conn) endLocked() {
	c.state = stateEnded
	if p := c.post; p != nil && !p.received && !p.cut {
		p.cut = true
		// A Read that waits for the rest of the body fails; without deadlines the next Read fails.
		_ = p.controller.SetReadDeadline(time.Unix(1, 0))
	}
	c.resumeLocked()
}

func (c *Conn) resumeLocked() {
	if c.resume != nil {
		close(c.resume)
		c.resume = nil
	}
}

// answerLocked passes items to the waiting GET.
func (c *Conn) answerLocked(items ...item) { c.deliverLocked(c.encode(items)) }

// deliverLocked passes a response to the waiting GET.
func (c *Conn) deliverLocked(answer response) {
	g := c.get
	c.get = nil
	switch {
	case g.parker == nil:
		g.answer <- answer
	case c.config.Header != nil || c.compresses(answer):
		go c.unparkApart(g, answer) // a function of the application may block, and compressing takes time
	default:
		c.unpark(g, answer)
	}
}

// takeLocked empties the queue.
func (c *Conn) takeLocked() response {
	r := c.encode(c.queue)
	c.queue, c.queued = nil, 0
	return r
}
