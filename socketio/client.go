package socketio

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// client is one Engine.IO session with its sockets, one for each namespace that it has joined.
//
// No session is called with mu held, but to pause and resume it: it may call back at once.
type client struct {
	server  *Server
	session *engineio.Session
	partial *parser.Decoder // of a packet whose attachments are on their way
	queue   queue
	line    atomic.Pointer[line] // nil while senders need no order

	mu       sync.Mutex
	first    *Socket       // of those in the order of joining, the ones in middleware included
	others   *[]*Socket    // nil until there is one
	timers   *timers       // nil if none is running
	turn     atomic.Uint32 // see volatile.go; does not need mu
	ended    bool
	deciding uint16 // number of namespaces about which functions of the application are deciding
}

var _ engineio.Handler = (*client)(nil)

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
		c.reject(err)
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
			c.reject(err)
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
	if s == nil || !s.reachable() {
		c.violate()
		return true
	}
	switch p.Type {
	case parser.Event:
		if c.queue.pushEvent(s, p) {
			c.steer()
		}
		return true
	case parser.Ack:
		if p.HasID {
			s.handleAck(p)
		}
		return false
	case parser.Disconnect:
		return s.end(ClientNamespaceDisconnect, nil)
	default: // CONNECT_ERROR is for servers to send
		c.violate()
		return true
	}
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

// reject closes the session of a client that has sent an invalid packet.
func (c *client) reject(err error) {
	for _, s := range c.all() {
		if s.reachable() {
			c.queue.push(func() { s.handleError(err) })
		}
	}
	c.session.Close()
}

// violate closes the session of a client that has sent a packet which its state does not allow.
func (c *client) violate() {
	c.session.Close()
	reason := ForcedClose
	if c.session.State() != engineio.StateClosed {
		// It has to deliver something first, for which its sockets do not wait.
		reason = ForcedServerClose
	}
	c.end(reason, nil)
}

// end disconnects all sockets. It is done once.
func (c *client) end(reason DisconnectReason, err error) {
	if c.server.closing.Load() && (reason == ForcedClose || reason == ForcedServerClose) {
		// The server closes the session, or the client has written to a socket that is disconnected for that.
		reason = ServerShuttingDown
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
		s.end(reason, err)
	}
	c.queue.push(func() { c.server.clients.Add(-1) })
	c.schedule()
}

// Run implements [engineio.Handler].
func (c *client) Run() {
	if c.queue.run(c) {
		c.steer()
	}
}

// steer has the client read, or not, as the queue wants it.
func (c *client) steer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue.isFull() {
		c.session.Pause()
	} else {
		c.session.Resume()
	}
}

// await adds to the number of sockets of which an acknowledgement is awaited.
func (c *client) await(sockets int) {
	if c.queue.await(sockets, c.server.opts.MaxUnhandledBytes) {
		c.steer()
	}
}

// HandleDrain implements [engineio.Handler].
func (c *client) HandleDrain() {}

// HandleClose implements [engineio.Handler].
func (c *client) HandleClose(reason engineio.CloseReason, err error) {
	c.end(DisconnectReason(reason), err)
}

// schedule has the queue run outside the calling goroutine.
func (c *client) schedule() { go c.Run() }

// joined is told that a socket is connected.
func (c *client) joined() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimeoutLocked()
}

// left is told that s is not connected, or no longer.
func (c *client) left(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := slices.DeleteFunc(c.allLocked(), func(other *Socket) bool { return other == s })
	c.first, c.others = nil, nil
	if len(rest) > 0 {
		c.first = rest[0]
	}
	if len(rest) > 1 {
		others := rest[1:]
		c.others = &others
	}
}

// disconnectAll disconnects all sockets of the client, then closes its session.
func (c *client) disconnectAll() {
	for _, s := range c.all() {
		s.end(ServerNamespaceDisconnect, nil)
	}
	c.close()
	c.end(ForcedServerClose, nil)
	// The client may have ended before this task.
	c.schedule()
}

// panicked logs a panic of a handler, or runtime.Goexit if value is nil, and closes the session.
func (c *client) panicked(s *Socket, value any, stack []byte) {
	id := ""
	if s != nil {
		id = s.ID()
	}
	if value == nil {
		value = "runtime.Goexit"
	}
	c.server.opts.Logger.Error("handler panicked", "sid", c.session.ID(), "socket", id, "panic", value, "stack", string(stack))
	c.session.Close()
	c.end(ForcedClose, nil)
}
