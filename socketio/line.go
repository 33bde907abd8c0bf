package socketio

import (
	"iter"
	"sync"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// line orders the outgoing packets of a client where necessary: CONNECT comes first, and packets with an offset are
// sent in the order of their offsets. A sender appends its packet to the line. If no other goroutine is sending, it
// sends all packets in the line; otherwise the other goroutine does. So no sender waits, and no lock is held while
// sending, which calls functions of the application.
//
// A client has a line while CONNECT is being sent, and permanently from its first packet with an offset.
type line struct {
	mu      sync.Mutex
	waiting []entry
	spare   []entry // a buffer
	bytes   int     // size of waiting
	sending bool
	lasts   bool
}

const (
	// maxLineBytes bounds the bytes waiting in a line while a goroutine sends. Only a function of the application that
	// blocks can cause so many.
	maxLineBytes = 16 << 20
	// entryCost is the size in bytes that an entry counts in addition to its message.
	entryCost = 64
	// maxSpareEntries is the number of entries of the largest buffer that a line keeps.
	maxSpareEntries = 64
)

var lines = sync.Pool{New: func() any { return new(line) }}

// entry is an element of a line. It holds a message; or, for a socket, the missed packets and CONNECT; or, without
// either, the end of the session.
type entry struct {
	message *transport.Message // shared
	socket  *Socket
	packet  *parser.Packet // for OnAnyOutgoing; nil if there are no such functions
	missed  iter.Seq[*parser.Packet]
}

// lockLine returns the line of c, locked. If there is none, it creates one if makes is true, or returns nil.
func (c *client) lockLine(makes bool) *line {
	for {
		l := c.line.Load()
		if l == nil {
			if !makes {
				return nil
			}
			l = lines.Get().(*line)
			if !c.line.CompareAndSwap(nil, l) {
				lines.Put(l)
				continue
			}
		}
		l.mu.Lock()
		if c.line.Load() == l {
			return l
		}
		l.mu.Unlock() // the line has ended meanwhile
	}
}

// pushLocked appends e to the line. It closes the client if too much is waiting.
func (l *line) pushLocked(c *client, e entry) {
	l.bytes += entryCost
	if e.message != nil {
		l.bytes += e.message.Size()
	}
	if l.bytes > maxLineBytes {
		go c.session.Abort() // it calls functions of the application
		return
	}
	l.waiting = append(l.waiting, e)
}

// send sends m. It does not keep m unless it is shared. If another goroutine does the sending, an error of the
// transport is not returned.
func (c *client) send(m *transport.Message) error {
	c.beginTurn()
	l := c.lockLine(false)
	if l == nil {
		return c.session.Send(m)
	}
	if l.sending || len(l.waiting) > 0 {
		l.pushLocked(c, entry{message: m.Share()})
		l.mu.Unlock()
		c.flush()
		return nil
	}
	l.sending = true
	l.mu.Unlock()
	defer c.sendLine(l)
	return c.session.Send(m)
}

// close closes the session after the packets in the line.
func (c *client) close() {
	l := c.lockLine(false)
	if l == nil {
		c.session.Close()
		return
	}
	l.pushLocked(c, entry{})
	l.mu.Unlock()
	c.flush()
}

// flush sends the packets in the line unless another goroutine is doing so.
func (c *client) flush() {
	l := c.lockLine(false)
	if l == nil {
		return
	}
	if l.sending {
		l.mu.Unlock()
		return
	}
	l.sending = true
	l.mu.Unlock()
	c.sendLine(l)
}

// sendLine sends the packets in l. The caller has set l.sending.
func (c *client) sendLine(l *line) {
	var batch []entry
	done := false
	defer func() {
		if done {
			return
		}
		// A function of the application has called runtime.Goexit.
		l.mu.Lock()
		l.waiting = append(batch, l.waiting...)
		l.mu.Unlock()
		go c.sendLine(l)
	}()
	for {
		l.mu.Lock()
		if batch != nil && cap(batch) <= maxSpareEntries {
			l.spare = batch[:0]
		}
		if len(l.waiting) == 0 {
			l.endLocked(c)
			done = true
			return
		}
		all := l.waiting
		l.waiting, l.spare, l.bytes = l.spare, nil, 0
		l.mu.Unlock()
		for i := range all {
			e := all[i]
			all[i], batch = entry{}, all[i+1:]
			c.sendEntry(&e)
		}
		batch = all
	}
}

// endLocked ends the sending, and the line unless it lasts. It unlocks l.
func (l *line) endLocked(c *client) {
	l.sending = false
	ended := !l.lasts
	if ended {
		c.line.Store(nil)
	}
	l.mu.Unlock()
	if ended {
		lines.Put(l)
	}
}

func (c *client) sendEntry(e *entry) {
	switch {
	case e.message != nil:
		if e.packet != nil {
			e.socket.tellOutgoing(e.packet)
		}
		_ = c.session.Send(e.message) // the client sees to a failing connection itself
	case e.socket != nil:
		e.socket.sendConnect(e.missed)
	default:
		c.session.Close()
	}
}

// connect makes s reachable. The missed packets and CONNECT precede everything that is sent to s from now on; the
// caller must flush the line. If the client has left, connect does nothing and returns false.
func (s *Socket) connect(missed iter.Seq[*parser.Packet]) bool {
	l := s.client.lockLine(true)
	defer l.mu.Unlock()
	if !s.status.move(statePending, stateConnected) {
		return false
	}
	l.pushLocked(s.client, entry{socket: s, missed: missed})
	return true
}

// sendConnect sends the missed packets and CONNECT.
func (s *Socket) sendConnect(missed iter.Seq[*parser.Packet]) {
	send := func(p *parser.Packet) bool {
		m, err := parser.EncodeMessage(s.ns.server.opts.Parser, p)
		if err != nil {
			return true
		}
		defer m.Release()
		return s.client.session.Send(m) == nil
	}
	if missed != nil {
		for p := range missed {
			if !send(p) {
				return
			}
		}
	}
	send(&parser.Packet{Type: parser.Connect, Namespace: s.ns.name, Data: s.connectData()})
}

func (m *member) Deliver(p *parser.Packet, msg *transport.Message, f adapter.Flags) {
	s := (*Socket)(m)
	if f.Volatile && !s.client.takesVolatile() {
		return
	}
	s.tellOutgoing(p)
	_ = s.client.send(msg) // the client sees to a failing connection itself
}

func (m *member) Enqueue(p *parser.Packet, msg *transport.Message, _ adapter.Flags) {
	s := (*Socket)(m)
	e := entry{message: msg, socket: s}
	if x := s.extra.Load(); x != nil && len(x.outgoing.all()) > 0 {
		kept := p.Clone()
		e.packet = &kept
	}
	s.client.beginTurn()
	l := s.client.lockLine(true)
	defer l.mu.Unlock()
	l.lasts = true
	l.pushLocked(s.client, e)
}

func (m *member) Flush() { m.client.flush() }
