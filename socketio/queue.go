package socketio

import (
	"runtime/debug"
	"sync"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// queue runs the tasks of one client's sockets in order, one at a time. The zero value is ready for use. All methods
// are safe for concurrent use.
//
// Packets of a client are parsed and queued as they are read; run handles them. While a handler blocks, packets are
// queued until more than Options.MaxUnhandledBytes wait. The client is then not read until the queue is empty. An
// awaited acknowledgement may arrive behind other packets, so the bound is higher meanwhile.
type queue struct {
	mu      sync.Mutex
	last    *task  // whose next is the first; nil if there is none
	bytes   uint32 // estimate of the memory that waiting events take
	awaited uint16 // sockets of which an acknowledgement is awaited
	running bool
	full    bool // the client is not read any further
}

const (
	// taskCost is the fixed part of an event's estimated size.
	taskCost = 256
	// awaitedFactor multiplies the bound while an acknowledgement is awaited.
	awaitedFactor = 16
	// maxBytes is the upper limit of the bound.
	maxBytes = 1 << 30
)

// boundLocked returns the number of bytes that may wait. limit is the option.
func (q *queue) boundLocked(limit int) uint32 {
	if q.awaited > 0 && limit < maxBytes/awaitedFactor {
		return uint32(limit) * awaitedFactor
	}
	return uint32(min(limit, maxBytes))
}

// await adds to the number of sockets with awaited acknowledgements. It reports whether reading should resume.
func (q *queue) await(sockets int, limit int) (roomAgain bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.awaited += uint16(sockets)
	if q.full && q.bytes <= q.boundLocked(limit) {
		q.full = false
		return true
	}
	return false
}

// task is one entry of a queue: an event, or a function.
type task struct {
	next  *task
	event Event // if event.socket is set
	do    func()
	cost  uint32
}

var tasks = sync.Pool{New: func() any { return new(task) }}

// maxPooledEvent is the size of the largest event whose buffer is kept for another one.
const maxPooledEvent = 4 << 10

func (t *task) recycle() {
	data := t.event.data
	if t.event.kept || cap(data) > maxPooledEvent {
		if t.event.kept {
			return // a handler may have it
		}
		data = nil
	}
	*t = task{}
	t.event.data = data[:0]
	tasks.Put(t)
}

// isFull reports whether so many events wait that the client should not be read any further.
func (q *queue) isFull() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.full
}

// pushEvent queues an EVENT packet for s; p is not kept, apart from its attachments. It reports whether
// the queue has just become full.
func (q *queue) pushEvent(s *Socket, p *parser.Packet) (full bool) {
	t := tasks.Get().(*task)
	t.event.init(s, p)
	t.cost = taskCost + uint32(len(p.Data))
	for _, b := range p.Attachments {
		t.cost += uint32(len(b))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushLocked(t)
	if !q.full && q.bytes > q.boundLocked(s.client.server.opts.MaxUnhandledBytes) {
		q.full = true
		return true
	}
	return false
}

// push queues f.
func (q *queue) push(f func()) {
	t := tasks.Get().(*task)
	t.do = f
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushLocked(t)
}

func (q *queue) pushLocked(t *task) {
	q.bytes += t.cost
	if q.last == nil {
		t.next = t
	} else {
		t.next, q.last.next = q.last.next, t
	}
	q.last = t
}

// popLocked takes the first task, or returns nil if there is none.
func (q *queue) popLocked() *task {
	if q.last == nil {
		return nil
	}
	t := q.last.next
	if t == q.last {
		q.last = nil
	} else {
		q.last.next = t.next
	}
	t.next = nil // or an event that a handler keeps would keep those behind it
	q.bytes -= t.cost
	return t
}

// run works the queue off and reports whether it was full and is so no longer. If it is being worked off
// already, run returns at once.
func (q *queue) run(c *client) (roomAgain bool) {
	q.mu.Lock()
	if q.running || q.last == nil {
		q.mu.Unlock()
		return false
	}
	q.running = true
	q.mu.Unlock()

	finished := false
	defer func() {
		if !finished { // a handler has called runtime.Goexit, which ends its client as a panic does
			q.mu.Lock()
			q.running = false
			c.turn.Store(turnNone)
			q.mu.Unlock()
			c.panicked(nil, nil, nil)
			c.schedule()
		}
	}()
	for {
		q.mu.Lock()
		t := q.popLocked()
		if t == nil {
			q.running = false
			c.turn.Store(turnNone)
			roomAgain, q.full = q.full, false
			q.mu.Unlock()
			finished = true
			return roomAgain
		}
		q.mu.Unlock()
		c.turn.Store(turnOpen)
		t.run(c)
	}
}

// run executes t. A panic ends the client, not the server.
func (t *task) run(c *client) {
	defer func() {
		s := t.event.socket
		if p := recover(); p != nil {
			t.event.kept = true
			c.panicked(s, p, debug.Stack())
		}
		t.recycle()
	}()
	if t.do != nil {
		t.do()
	} else {
		t.event.socket.dispatch(&t.event)
	}
}
