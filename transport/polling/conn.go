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
	ErrPostTimeout = errors.New("http request timeout")
	ErrPostSize    = errors.New("payload too large")
	ErrPostPieces  = errors.New("too many chunks")
)

// Config is shared by all sessions of a server. It must not change once it is in use.
type Config struct {
	// MaxBodyBytes is the largest accepted POST body in bytes.
	MaxBodyBytes int
	// MaxBodyPieces is the largest accepted number of reads for a POST body.
	MaxBodyPieces int
	// BodyTimeout is the longest time that a POST body may take to arrive.
	BodyTimeout time.Duration
	// MaxQueuedBytes bounds the queue for the next GET of a session, in bytes. Each message counts for its payload
	// plus 64 bytes.
	MaxQueuedBytes int
	// Budget, if not nil, counts the queued bytes of all sessions.
	Budget *transport.Budget
	// CompressFrom is the smallest body in bytes that is compressed if the client accepts it. Negative disables
	// compression.
	CompressFrom int
	// Header, if not nil, may change the header of a successful response just before it is written.
	Header func(h http.Header, r *http.Request)
}

// Handler receives the events of a Conn. No method may block. HandlePayload is called once at a time; the others may be
// called at any time.
type Handler interface {
	// HandlePayload handles the packets of a POST, before the response. next returns them one after the other, and
	// then false, with an error if the body could not be decoded to its end. The Data of a packet is valid until
	// the following call of next.
	HandlePayload(next func() (p packet.Packet, ok bool, err error))

	// HandleDrain is called when queued packets have been passed to a GET.
	HandleDrain()

	// HandleError is called when a request violates the protocol, is interrupted or abandoned by its client, which
	// ends the session.
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
//	          Close, and a GET waits
//	   ┌───────────────────────────────────────┐
//	open ──Close──▶ closing ──the last GET──▶ ended
//	   └──────────────┴──────────Abort─────────▶
//
// A POST in progress may outlive the Conn: if its body has arrived, its packets are still delivered, and until its
// response a GET is answered as if it had been waiting. See Abort.
//
// An upgrade calls Freeze, after which no packet arrives by polling, and then Abort, whose result it sends on the new
// transport.
type Conn struct {
	config  *Config
	handler Handler
	index   string
	v3      bool
	base64  bool
	jsonp   bool

	mu       sync.Mutex
	state    state
	paused   bool
	corked   bool
	frozen   bool          // no more POSTs are accepted
	lost     bool          // the client has abandoned a GET during a POST
	late     bool          // ended, but one GET is still answered, with farewell
	farewell packet.Type   // if late
	posts    int32         // being served
	get      *get          // waiting
	post     *post         // being received, delivered or held back
	changed  chan struct{} // closed when waiters must check again; nil if there are none
	queue    []Item
	queued   int           // bytes
	heard    time.Duration // since epoch: the last time a request was open
}

type state uint8

const (
	stateOpen state = iota
	stateClosing
	stateEnded
)

// Item is an element of the queue: a message or, if Message is nil, a packet without data.
type Item struct {
	Message *transport.Message
	Type    packet.Type
}

// itemBytes is the cost of an item in addition to its payload.
const itemBytes = 64

func (i Item) size() int {
	if i.Message == nil {
		return itemBytes
	}
	return itemBytes + i.Message.Size()
}

var epoch = time.Now()

// New returns an open Conn.
func New(config *Config, handler Handler, p Params) *Conn {
	c := &Conn{config: config, handler: handler, v3: p.V3, base64: p.Base64 || p.JSONP, jsonp: p.JSONP, heard: time.Since(epoch)}
	if p.JSONP {
		c.index = digits(p.Index)
	}
	return c
}

// Send passes m to the waiting GET or queues it for the next one. m is copied unless it is shared, so the caller
// may release it. Send returns transport.ErrClosed if c is not open. If the queue would exceed its limit, Send
// queues nothing and returns transport.ErrSlowPeer; the caller must then end c.
func (c *Conn) Send(m *transport.Message) error { return c.send(Item{Message: m}) }

// SendPacket is like Send for a packet without data.
func (c *Conn) SendPacket(t packet.Type) error { return c.send(Item{Type: t}) }

func (c *Conn) send(i Item) error {
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
	c.config.Budget.Add(itemBytes)
	if i.Message != nil {
		i.Message = i.Message.Share()
		c.config.Budget.Hold(i.Message)
	}
	c.queue = append(c.queue, i)
	c.queued += i.size()
	return nil
}

// maxPackets is the largest number of packets in a response, unless the client is far behind. Some clients reject
// payloads with more than 16.
const maxPackets = 16

// takeLocked removes the next response from the queue, which must not be empty: whole messages, of up to maxPackets
// packets or a quarter of the queue.
func (c *Conn) takeLocked() response {
	limit := max(maxPackets, len(c.queue)/4)
	n := 0
	for packets := 0; n < len(c.queue); n++ {
		packets += c.queue[n].packets()
		if n > 0 && packets > limit {
			break
		}
	}
	r := c.encode(c.queue[:n])
	c.dropLocked(n)
	return r
}

// packets returns the number of packets of i.
func (i Item) packets() int {
	if i.Message == nil {
		return 1
	}
	n := len(i.Message.Binary())
	if _, ok := i.Message.Text(); ok {
		n++
	}
	return n
}

// dropLocked removes the first n items of the queue.
func (c *Conn) dropLocked(n int) {
	for _, i := range c.queue[:n] {
		c.queued -= i.size()
		c.config.Budget.Add(-itemBytes)
		if i.Message != nil {
			c.config.Budget.Drop(i.Message)
		}
	}
	if n == len(c.queue) {
		c.queue = nil
		return
	}
	clear(c.queue[:n])
	c.queue = c.queue[n:]
}

// Writable reports whether a GET is waiting, so that a message sent now need not be queued.
func (c *Conn) Writable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get != nil && !c.corked
}

// Queue returns a copy of the queue. The messages must not be changed.
func (c *Conn) Queue() []Item {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Item(nil), c.queue...)
}

// Queued returns the size of the queue in bytes, as Config.MaxQueuedBytes counts them.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// Alive reports whether the client has a GET open, or had a request within the given time. A POST that is held because c
// is paused is no sign of life: the client may have died behind it.
func (c *Conn) Alive(within time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get != nil || time.Since(epoch)-c.heard <= within
}

// Cork holds messages back until Uncork, Close or Abort, so that one GET gets many of them. Calls do not nest.
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

// Release answers a waiting GET with a noop packet, so that the client can stop polling.
func (c *Conn) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.get != nil {
		c.answerLocked(Item{Type: packet.Noop})
	}
}

// Pause holds back the responses to POST requests until Resume; a client sends its next POST only after the
// previous response. If the client abandons the POST meanwhile, HandleError is called. Calls do not nest.
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
	c.wakeLocked()
}

// Close ends c gracefully: the queue is delivered, followed by a close packet. It reports whether both could be
// done at once; if not, HandleEnd is called later. A Conn whose client sends no more GETs stays in this state until
// Abort. Packets are still delivered; a close packet from the client ends the session early.
func (c *Conn) Close() (ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uncorkLocked()
	if c.state == stateOpen {
		c.state = stateClosing
		c.wakeLocked()
		if c.get != nil {
			c.answerLocked(Item{Type: packet.Close})
			c.endLocked()
		}
	}
	return c.state == stateEnded
}

// Abort ends c at once: a waiting GET is answered with a packet of type farewell, and a POST whose body has not arrived
// is interrupted. Abort returns the queue, which is lost unless the caller sends it by another transport.
//
// A client always has a GET in progress. If none waits while a POST is being served, a GET may be about to arrive: it
// is answered with farewell as well, and the response to the POST waits for it a moment. late reports this case. The
// owner then passes requests to Serve until Late returns false.
func (c *Conn) Abort(farewell packet.Type) (unsent []Item, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uncorkLocked()
	c.late = c.state != stateEnded && c.get == nil && c.posts > 0 && !c.frozen
	c.farewell = farewell
	if c.get != nil {
		c.answerLocked(Item{Type: farewell})
	}
	unsent = c.queue
	c.dropLocked(len(unsent))
	c.endLocked()
	return unsent, c.late
}

// Late reports whether c has ended but would still answer a GET.
func (c *Conn) Late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.late
}

// Freeze rejects POSTs from now on, so that the next packet arrives by another transport. It returns false, and changes
// nothing, if packets are being delivered: a client must not switch transports before the response to its last POST.
// Freeze waits up to freezeTime for the delivery to end. It must not be called from HandlePayload.
func (c *Conn) Freeze() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	moment := time.NewTimer(freezeTime)
	defer moment.Stop()
	for c.post != nil && c.post.received && !c.post.handed {
		if !c.waitLocked(nil, moment.C) {
			return false
		}
	}
	c.frozen = true
	return true
}

// freezeTime bounds the wait of Freeze, which is called on an event loop.
const freezeTime = time.Millisecond

func (c *Conn) endLocked() {
	c.state = stateEnded
	if c.post != nil {
		c.post.cutOff()
	}
	c.wakeLocked()
}

// waitLocked releases the lock and waits for wakeLocked. It returns false if gone or due comes first.
func (c *Conn) waitLocked(gone <-chan struct{}, due <-chan time.Time) bool {
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	changed := c.changed
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-changed:
		return true
	case <-gone:
		return false
	case <-due:
		return false
	}
}

// wakeLocked wakes all callers of waitLocked.
func (c *Conn) wakeLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// hearLocked records that a request is open.
func (c *Conn) hearLocked() { c.heard = time.Since(epoch) }
