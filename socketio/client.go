package socketio

import (
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/namespace"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// client is one Engine.IO session with its sockets, one for each namespace that it has joined.
//
// No session is called with mu held, but to pause and resume it: it may call back at once.
type client struct {
	server  *Server
	session *engineio.Session
	partial *parser.Decoder // of a packet whose attachments are on their way
	queue   namespace.Queue

	mu       sync.Mutex
	first    *Socket     // of those in the order of joining, the ones in middleware included
	others   *[]*Socket  // nil until there is one
	timers   *timers     // nil if none is running
	inTurn   atomic.Bool // it has been sent a volatile message just now; does not need mu
	ended    bool
	deciding uint16 // number of namespaces about which functions of the application are deciding
}

// timers are those of a client that is connecting.
type timers struct {
	timeout, cork       wheel.Timer
	connecting, corking bool // which of them runs
}

var (
	_ engineio.BatchHandler = (*client)(nil)
	_ namespace.Client      = (*client)(nil)
)

// packets holds the packets that messages are decoded into.
var packets = sync.Pool{New: func() any { return new(parser.Packet) }}

// HandleMessage implements [engineio.Handler].
//
// Socket.IO protocol v5, "Exchange protocol".
func (c *client) HandleMessage(data []byte, binary bool) (run bool) {
	p := packets.Get().(*parser.Packet)
	defer func() {
		*p = parser.Packet{}
		packets.Put(p)
	}()
	complete, err := c.decode(p, data, binary)
	switch {
	case err != nil:
		c.fail(err)
		return true
	case !complete:
		return false
	}
	return c.handlePacket(p)
}

// decode adds a message to p. Only between the messages of one packet does a client have a decoder of its own.
func (c *client) decode(p *parser.Packet, data []byte, binary bool) (complete bool, err error) {
	var d parser.Decoder
	if c.partial != nil {
		d, c.partial = *c.partial, nil
	} else {
		d = c.server.decoders.Get().(parser.Decoder)
	}
	complete, err = d.Add(p, data, binary)
	switch {
	case complete:
		c.server.decoders.Put(d)
	case err == nil:
		kept := d // in a variable of its own, which is in the heap for this case alone
		c.partial = &kept
	}
	return complete, err
}

func (c *client) handlePacket(p *parser.Packet) (run bool) {
	name := p.Namespace
	if name == "" {
		name = "/"
	}
	if c.session.Protocol() == 3 {
		var err error
		if name, p.Data, err = splitNamespace(name, p); err != nil {
			c.fail(err)
			return true
		}
	}
	s := c.socket(name)
	if p.Type == parser.Connect {
		if s != nil {
			c.violate()
			return true
		}
		return c.connect(name, p)
	}
	if s == nil || !s.Reachable() {
		c.violate()
		return true
	}
	switch p.Type {
	case parser.Event:
		if c.queue.PushEvent(s, p) {
			c.mu.Lock()
			if c.queue.Full() {
				c.session.Pause()
			}
			c.mu.Unlock()
		}
		return true
	case parser.Ack:
		if p.HasID {
			namespace.HandleAck(s, p)
		}
		return false
	case parser.Disconnect:
		c.queue.DropBatch(s)
		return namespace.Disconnect(s, namespace.ClientNamespaceDisconnect, nil)
	default: // CONNECT_ERROR is for servers to send
		c.violate()
		return true
	}
}

// connect handles a CONNECT packet for a namespace that the client is not in.
func (c *client) connect(name string, p *parser.Packet) (run bool) {
	var auth []byte
	if len(p.Data) > len("{}") {
		auth = p.Data
	}
	if n, ok := c.server.registry.Lookup(name); ok && c.join(n, auth) {
		return true
	}
	if !c.server.registry.HasDynamic() {
		c.refuse(name, "Invalid namespace")
		return false
	}
	if !c.startDeciding() {
		c.refuse(name, tooManyNamespaces)
		return false
	}
	// The application's functions decide, and may wait.
	go c.decide(name, slices.Clone(auth))
	return false
}

const tooManyNamespaces = "Too many namespaces"

// startDeciding reports whether the client may ask for a namespace that is not there.
func (c *client) startDeciding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	max := c.server.opts.MaxNamespaces
	if max > 0 && c.countLocked()+int(c.deciding) >= max || c.deciding == math.MaxUint16 {
		return false
	}
	c.deciding++
	c.server.clients.Add(1)
	return true
}

// decide has the functions of the application decide about a namespace that is not there, and joins it if they allow it.
func (c *client) decide(name string, auth []byte) {
	decided := sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.deciding--
	})
	done := false
	defer func() {
		if !done { // one of them has panicked, or called runtime.Goexit
			c.Fail(nil, recover(), debug.Stack())
		}
		decided()
		c.server.clients.Add(-1)
	}()
	for {
		n := c.server.registry.Resolve(name, auth)
		decided() // before the client hears of it
		if n == nil {
			c.refuse(name, "Invalid namespace")
			break
		}
		if c.join(n, auth) {
			c.server.registry.DropIfEmpty(n)
			c.Schedule()
			break
		}
	}
	done = true
}

// join makes a socket for the client. It reports false if n has been dropped meanwhile.
func (c *client) join(n *Namespace, auth []byte) bool {
	c.mu.Lock()
	if max := c.server.opts.MaxNamespaces; max > 0 && c.countLocked() >= max {
		c.mu.Unlock()
		c.refuse(n.Name(), tooManyNamespaces)
		return true
	}
	defer c.mu.Unlock()
	if c.ended || c.socketLocked(n.Name()) != nil {
		return true // it has gone, or asked twice while a function was deciding
	}
	s := namespace.Join(n, c, auth)
	if s == nil {
		return false
	}
	if c.first == nil {
		c.first = s
		return true
	}
	if c.others == nil {
		c.others = new([]*Socket)
	}
	*c.others = append(*c.others, s)
	return true
}

// refuse answers a CONNECT for a namespace that the client cannot join.
func (c *client) refuse(name, message string) {
	m := transport.NewMessage()
	defer m.Release()
	text, binary, err := c.server.opts.Parser.Encode(m.Buffer(), &parser.Packet{
		Type: parser.ConnectError, Namespace: name, Data: []byte(`{"message":"` + message + `"}`),
	})
	if err != nil {
		return // a constant always encodes
	}
	m.SetPacket(text, binary)
	_ = c.session.Send(m)
}

// socket returns the client's socket in a namespace, or nil.
func (c *client) socket(name string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.socketLocked(name)
}

func (c *client) socketLocked(name string) *Socket {
	if c.first != nil && c.first.Namespace().Name() == name {
		return c.first
	}
	if c.others != nil {
		for _, s := range *c.others {
			if s.Namespace().Name() == name {
				return s
			}
		}
	}
	return nil
}

func (c *client) all() []*Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allLocked()
}

func (c *client) countLocked() int {
	switch {
	case c.first == nil:
		return 0
	case c.others == nil:
		return 1
	default:
		return 1 + len(*c.others)
	}
}

// allLocked returns a copy.
func (c *client) allLocked() []*Socket {
	if c.first == nil {
		return nil
	}
	all := append(make([]*Socket, 0, c.countLocked()), c.first)
	if c.others != nil {
		all = append(all, *c.others...)
	}
	return all
}

// fail closes the session of a client that has sent what is not a packet.
func (c *client) fail(err error) {
	c.queue.DropBatch(nil)
	for _, s := range c.all() {
		if s.Reachable() {
			c.queue.Push(func() { namespace.HandleError(s, err) })
		}
	}
	c.session.Close()
}

// violate closes the session of a client that has sent a packet which its state does not allow.
func (c *client) violate() {
	c.queue.DropBatch(nil)
	c.session.Close()
	reason := namespace.ForcedClose
	if c.session.State() != engineio.StateClosed {
		// It has to deliver something first, for which its sockets do not wait.
		reason = namespace.ForcedServerClose
	}
	c.end(reason, nil)
}

// end disconnects all sockets. It is done once.
func (c *client) end(reason namespace.DisconnectReason, err error) {
	if c.server.closing.Load() && (reason == namespace.ForcedClose || reason == namespace.ForcedServerClose) {
		// The server closes the session, or the client has written to a socket that is disconnected for that.
		reason = namespace.ServerShuttingDown
	}
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	c.stopTimeoutLocked()
	sockets := c.allLocked()
	c.mu.Unlock()
	for _, s := range sockets {
		namespace.Disconnect(s, reason, err)
	}
	c.queue.Push(func() { c.server.clients.Add(-1) })
	c.Schedule()
}

// HandleBatch implements [engineio.BatchHandler].
func (c *client) HandleBatch() { c.queue.EndBatch() }

// Run implements [engineio.Handler].
func (c *client) Run() {
	if c.queue.Run(c) {
		c.mu.Lock()
		if !c.queue.Full() {
			c.session.Resume()
		}
		c.mu.Unlock()
	}
}

// HandleDrain implements [engineio.Handler].
func (c *client) HandleDrain() {}

// HandleClose implements [engineio.Handler].
func (c *client) HandleClose(reason engineio.CloseReason, err error) {
	if reason == engineio.ParseError || (reason == engineio.TransportClose && c.session.Transport() == "polling") {
		c.queue.DropBatch(nil) // the rest of the payload goes with the packet that closed
	}
	c.end(namespace.DisconnectReason(reason), err)
}

// startTimeout closes the session if the client has not joined a namespace in time.
func (c *client) startTimeout() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timers = &timers{connecting: true}
	c.server.wheel.Schedule(&c.timers.timeout, c.server.opts.ConnectTimeout, (*connectTimeout)(c))
}

// connectTimeout is a client as the task of its timer.
type connectTimeout client

// Expire implements [wheel.Task].
func (c *connectTimeout) Expire() { c.session.Close() }

func (c *client) stopTimeoutLocked() {
	if t := c.timers; t != nil && t.connecting {
		c.server.wheel.Stop(&t.timeout)
		t.connecting = false
		c.releaseTimersLocked()
	}
}

func (c *client) releaseTimersLocked() {
	if !c.timers.connecting && !c.timers.corking {
		c.timers = nil
	}
}

// defaultCorkTime is how long a client is corked at most.
const defaultCorkTime = 20 * time.Millisecond

// Cork implements [namespace.Client].
func (c *client) Cork() {
	c.session.Cork()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers == nil {
		c.timers = new(timers)
	}
	c.timers.corking = true
	c.server.wheel.Schedule(&c.timers.cork, c.server.corkTime, (*corkTimeout)(c))
}

// Uncork implements [namespace.Client].
func (c *client) Uncork() {
	c.mu.Lock()
	t := c.timers
	corked := t != nil && t.corking
	if corked {
		c.server.wheel.Stop(&t.cork)
		t.corking = false
		c.releaseTimersLocked()
	}
	c.mu.Unlock()
	if corked {
		c.session.Uncork()
	}
}

// corkTimeout is a client as the task of its timer.
type corkTimeout client

// Expire implements [wheel.Task].
func (c *corkTimeout) Expire() { c.session.Uncork() }

// Send implements [namespace.Client].
func (c *client) Send(m *transport.Message) error { return c.session.Send(m) }

// Queue implements [namespace.Client].
func (c *client) Queue() *namespace.Queue { return &c.queue }

// Schedule implements [namespace.Client].
func (c *client) Schedule() { go c.Run() }

// Joined implements [namespace.Client].
func (c *client) Joined(*Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimeoutLocked()
}

// Left implements [namespace.Client].
func (c *client) Left(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := slices.DeleteFunc(c.allLocked(), func(other *Socket) bool { return other == s })
	c.first, c.others = nil, nil
	if len(left) > 0 {
		c.first = left[0]
	}
	if len(left) > 1 {
		others := left[1:]
		c.others = &others
	}
}

// DisconnectAll implements [namespace.Client].
func (c *client) DisconnectAll() {
	for _, s := range c.all() {
		namespace.Disconnect(s, namespace.ServerNamespaceDisconnect, nil)
	}
	c.session.Close()
	c.end(namespace.ForcedServerClose, nil)
	// The client may have ended before what was queued here.
	c.Schedule()
}

// Fail implements [namespace.Client].
func (c *client) Fail(s *Socket, panicked any, stack []byte) {
	id := ""
	if s != nil {
		id = s.ID()
	}
	if panicked == nil {
		panicked = "runtime.Goexit"
	}
	c.server.opts.Logger.Error("handler panicked", "sid", c.session.ID(), "socket", id, "panic", panicked, "stack", string(stack))
	c.session.Close()
	c.end(namespace.ForcedClose, nil)
}

// SessionID implements [namespace.Client].
func (c *client) SessionID() string { return c.session.ID() }

// Transport implements [namespace.Client].
func (c *client) Transport() string { return c.session.Transport() }

// Protocol implements [namespace.Client].
func (c *client) Protocol() int { return c.session.Protocol() }

// Request implements [namespace.Client].
func (c *client) Request() namespace.Request { return c.session.Request() }
