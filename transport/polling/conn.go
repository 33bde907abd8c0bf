package polling

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
)

// What ends a session with a transport error. The texts are those of the reference.
var (
	ErrOverlap     = errors.New("overlap from client")
	ErrPostOverlap = errors.New("data request overlap from client")
	ErrContent     = errors.New("invalid content")
	ErrPollClosed  = errors.New("poll connection closed prematurely")
	ErrPostClosed  = errors.New("data request connection closed prematurely")
)

// Config is what all sessions of a server have in common. It must not change once it is in use.
type Config struct {
	// MaxBodyBytes is the size in bytes of the largest body of a POST that is accepted.
	MaxBodyBytes int
	// MaxQueuedBytes bounds what waits for the next GET of a session, in bytes. Each message counts
	// for its payload and 64 bytes more.
	MaxQueuedBytes int
	// CompressFrom is the size in bytes of the smallest body that is compressed if the client accepts
	// it; negative means that none is.
	CompressFrom int
	// Header, if not nil, may change the header of a successful response just before it is written.
	Header func(h http.Header, r *http.Request)
}

// Handler is what the owner of a Conn offers to it. None of the methods may block. HandlePacket and
// HandlePosted are called one at a time; the others may be called at any time.
type Handler interface {
	// HandlePacket takes the next packet of a POST. p.Data is valid until it returns. If it returns
	// false, the rest of the body is dropped.
	HandlePacket(p packet.Packet) (more bool)

	// HandlePosted is called when all packets of a POST have been handed over, before it is answered.
	// err says why the body could not be decoded to its end.
	HandlePosted(err error)

	// HandleDrain is called when what was queued has been handed to a GET.
	HandleDrain()

	// HandleError is called when a request breaks the rules or is cut off, which ends the session.
	HandleError(err error)

	// HandlePanic is called when Config.Header has panicked on a goroutine of c's, which ends the session.
	HandlePanic(panicked any, stack []byte)

	// HandleEnd is called when a closing Conn has told the client so and has ended.
	HandleEnd()
}

// Params is how one session encodes packets. It follows from the first request of the session.
type Params struct {
	V3     bool   // Engine.IO protocol v3 instead of v4
	Base64 bool   // v3: the client cannot take binary bodies
	JSONP  bool   // answer with scripts
	Index  string // JSONP: which callback to call; what is not a digit is dropped
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

	dispatch sync.Mutex // held while packets are handed over; taken before mu
	frozen   bool       // guarded by dispatch: no packets are handed over any more

	mu     sync.Mutex
	state  state
	paused bool
	corked bool
	get    *get          // that waits
	post   *post         // that is being received or held back
	resume chan struct{} // closed when a POST need not be held back any longer
	queue  []item
	queued int // bytes
}

type state uint8

const (
	stateOpen state = iota
	stateClosing
	stateEnded
)

// item is a message, or else a packet without data.
type item struct {
	message *transport.Message
	kind    packet.Type
}

// itemBytes is what an item counts in addition to its payload.
const itemBytes = 64

func (i item) size() int {
	if i.message == nil {
		return itemBytes
	}
	return itemBytes + i.message.Size()
}

// post is a POST request that has not been answered.
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

// Send hands m to the GET that waits, or queues it for the next. Unless m is shared it is copied, so
// the caller may release it. It returns transport.ErrClosed if c is not open, and transport.ErrSlowPeer,
// sending nothing, if more bytes than allowed would be queued; the caller then has to end c.
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

// Writable reports whether a GET waits, so that what is sent now need not be queued.
func (c *Conn) Writable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get != nil && !c.corked
}

// Cork has what is sent wait until Uncork, Close or End, so that one GET gets all of it. Calls do not nest.
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

// Queued reports whether something waits for the next GET.
func (c *Conn) Queued() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

// Release answers a GET that waits with a noop packet, so that the client can stop polling.
func (c *Conn) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.get != nil {
		c.answerLocked(item{kind: packet.Noop})
	}
}

// Pause holds back the answers of POST requests until Resume; a client sends the next one only after
// the answer to the one before. Calls do not nest.
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

// Close ends c in order: what is queued is delivered, and then the client is told with a close
// packet. It reports whether that could be done at once; if not, HandleEnd is called when it has been
// done. A Conn whose client sends no more GETs stays as it is until End. Packets are still handed over;
// one of type close ends the session before the client has asked.
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

// End ends c at once: a GET that waits is answered with a packet of type t, a POST that is being
// received is cut off, and what is queued will not be delivered; see Unsent.
func (c *Conn) End(t packet.Type) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uncorkLocked()
	if c.get != nil {
		c.answerLocked(item{kind: t})
	}
	c.endLocked()
}

// Freeze makes c hand over no more packets and waits until it does not hand one over. It must not be
// called from HandlePacket or HandlePosted.
func (c *Conn) Freeze() {
	c.dispatch.Lock()
	defer c.dispatch.Unlock()
	c.frozen = true
}

// Detach ends c because another transport takes over, to which message and control are told to send
// what was queued, in order. They are called before Detach returns and must not use c.
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

// Forget drops what is queued in a Conn that has ended.
func (c *Conn) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue, c.queued = nil, 0
}

func (c *Conn) endLocked() {
	c.state = stateEnded
	if p := c.post; p != nil && !p.received && !p.cut {
		p.cut = true
		// The read that waits for the rest of the body fails; where that cannot be done, the next one does.
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

// answerLocked hands items to the GET that waits.
func (c *Conn) answerLocked(items ...item) { c.deliverLocked(c.encode(items)) }

// deliverLocked hands an answer to the GET that waits.
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
