package socketio

import (
	"iter"
	"sync"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// line is the order of what a client is sent where that must not be left to chance: nothing precedes CONNECT, and packets
// with an offset come in the order of their offsets. Whoever has something for the client puts it into the line and then
// sends what is in it, unless another goroutine is doing so, which sends the rest, too. So nobody waits, and nothing is sent
// with a lock held: sending calls functions of the application.
//
// A client has a line while CONNECT is being sent, and for good from its first packet with an offset on.
type line struct {
	mu      sync.Mutex
	waiting []entry
	spare   []entry // a buffer
	bytes   int     // of what is waiting
	sending bool
	lasts   bool
}

const (
	// maxLineBytes bounds what waits in a line while a goroutine sends. It takes a function of the application that
	// blocks to get there.
	maxLineBytes = 16 << 20
	// entryCost is what an entry counts beside its message, in bytes.
	entryCost = 64
	// maxSpareEntries is the number of entries for which a line keeps a buffer.
	maxSpareEntries = 64
)

var lines = sync.Pool{New: func() any { return new(line) }}

// entry is a place in a line: a message or, if it has none, CONNECT for a socket behind what that has missed or, without
// a socket either, the end of the session.
type entry struct {
	message *transport.Message // shared
	socket  *Socket
	packet  *parser.Packet // of which functions of the application are to be told; nil if there are none
	missed  iter.Seq[*parser.Packet]
}

// lockLine returns the line of c, locked. If there is none it makes one, or returns nil.
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
		l.mu.Unlock() // it has ended meanwhile
	}
}

// pushLocked puts e into the line. A client that has too much in it is closed.
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

// send sends m, which is not kept unless it is shared. An error of the transport is not returned if another goroutine sends
// for it.
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

// close closes the session behind what is in the line.
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

// flush sends what is in the line, unless another goroutine does.
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

// sendLine sends what is in l, whose sending the caller has set.
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

// connect makes s reachable. What it has missed, and CONNECT, are in front of whatever it is sent from now on; the caller
// has to flush the line. It does nothing, and returns false, if the client has gone.
func (s *Socket) connect(missed iter.Seq[*parser.Packet]) bool {
	l := s.client.lockLine(true)
	defer l.mu.Unlock()
	if !s.status.move(statePending, stateConnected) {
		return false
	}
	l.pushLocked(s.client, entry{socket: s, missed: missed})
	return true
}

// sendConnect sends s what it has missed, and CONNECT.
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
