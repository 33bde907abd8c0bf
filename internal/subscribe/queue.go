package subscribe

import (
	"sync"
	"time"
)

// maxBatch is the maximum number of messages delivered at once. Their bytes are released when all have been
// handled.
const maxBatch = 64

// pool is shared by the queues of a Receiver.
type pool struct {
	limit    int           // bytes in all queues, including those being handled
	patience time.Duration // wait for space in a queue

	mu    sync.Mutex // also guards the queues
	bytes int
	room  chan struct{} // closed when there may be space; nil without a waiter
}

// queue keeps the messages of a member in order. While it is not empty, the goroutine of work delivers them.
type queue struct {
	pool    *pool
	handle  func([]Message)
	dropped func(n int)

	// Guarded by pool.mu.
	waiting []Message
	bytes   int // waiting or being handled
	running bool
	closed  bool
	overrun bool // patience has ended, and the queue is not half empty yet
}

// fitsLocked reports whether there is space for a message. A queue may grow to the size of the remaining space.
func (q *queue) fitsLocked(size int) bool {
	p := q.pool
	return p.bytes == 0 || p.bytes+size <= p.limit && p.bytes+q.bytes <= p.limit
}

// add queues m. If there is no space it waits, and drops m after the patience has ended. It returns false if done
// is closed meanwhile; m must then be received again.
func (q *queue) add(m Message, done <-chan struct{}) bool {
	p, size := q.pool, m.size()
	var patience *time.Timer
	p.mu.Lock()
	for !q.closed && !q.fitsLocked(size) {
		if q.overrun {
			p.mu.Unlock()
			q.dropped(1)
			return true
		}
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		p.mu.Unlock()
		if patience == nil {
			patience = time.NewTimer(p.patience)
			defer patience.Stop()
		}
		expired := false
		select {
		case <-room:
		case <-patience.C:
			expired = true
		case <-done:
			return false
		}
		p.mu.Lock()
		q.overrun = expired
	}
	q.putLocked(m)
	p.mu.Unlock()
	return true
}

// insert queues m regardless of the space left. It returns false if the queue is closed.
func (q *queue) insert(m Message) bool {
	q.pool.mu.Lock()
	defer q.pool.mu.Unlock()
	q.putLocked(m)
	return !q.closed
}

func (q *queue) putLocked(m Message) {
	if q.closed {
		return
	}
	q.bytes += m.size()
	q.pool.bytes += m.size()
	q.waiting = append(q.waiting, m)
	if !q.running {
		q.running = true
		go q.work()
	}
}

func (q *queue) work() {
	for q.turn() {
	}
}

// turn delivers some messages. It returns false when the queue is empty.
func (q *queue) turn() bool {
	batch := q.take()
	if batch == nil {
		return false
	}
	returned := false
	defer func() {
		q.pool.mu.Lock()
		q.releaseLocked(batch)
		q.pool.mu.Unlock()
		clear(batch)
		if !returned {
			go q.work() // the handler has ended this goroutine
		}
	}()
	q.handle(batch)
	returned = true
	return true
}

func (q *queue) take() (batch []Message) {
	q.pool.mu.Lock()
	defer q.pool.mu.Unlock()
	n := min(len(q.waiting), maxBatch)
	if n == 0 {
		q.running, q.waiting = false, nil
		return nil
	}
	batch, q.waiting = q.waiting[:n:n], q.waiting[n:]
	return batch
}

// releaseLocked releases the space of messages.
func (q *queue) releaseLocked(batch []Message) {
	p := q.pool
	for i := range batch {
		q.bytes -= batch[i].size()
		p.bytes -= batch[i].size()
	}
	if q.overrun && 2*q.bytes <= p.limit-p.bytes {
		q.overrun = false
	}
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
}

// close drops waiting messages and all later ones. It does not wait for messages being handled.
func (q *queue) close() {
	q.pool.mu.Lock()
	defer q.pool.mu.Unlock()
	q.closed = true
	q.releaseLocked(q.waiting)
	q.waiting = nil
}
