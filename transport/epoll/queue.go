package epoll

import (
	"sync"

	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/transport"
)

const (
	// minReference is the minimum size in bytes of a shared message queued by reference. Copying a smaller message
	// uses less memory than a reference.
	minReference = 128
	// maxCopied is the size in bytes up to which copied messages are combined in one chunk.
	maxCopied = 16 << 10
)

// queue holds bytes sent but not yet accepted by the kernel. It belongs to a Conn and is guarded by Conn.mu. A Conn
// with nothing to write has no queue.
type queue struct {
	budget  *transport.Budget // accounts for the queued bytes
	chunks  []chunk
	first   int // index of the first unwritten chunk
	written int // bytes of it already written
	size    int // unwritten bytes

	pong []byte // a frame after the chunks; a later pong replaces it
}

// chunk is a piece of a queue. Exactly one of copied and shared is set.
type chunk struct {
	data   []byte
	copied *bytebufferpool.ByteBuffer // holds data; more may be appended
	shared *transport.Message         // data are its frames
}

var (
	queues sync.Pool
	chunks bufpool.Pool
)

func newQueue(budget *transport.Budget) *queue {
	q, _ := queues.Get().(*queue)
	if q == nil {
		q = new(queue)
	}
	q.budget = budget
	return q
}

// pushPong appends the pending pong, if any.
func (q *queue) pushPong() {
	if pong := q.pong; len(pong) > 0 {
		q.pong = nil
		q.push(pong, nil)
	}
}

// push appends b. It appends a reference if b holds frames of m, and m is shared and large enough; otherwise a
// copy.
func (q *queue) push(b []byte, m *transport.Message) {
	q.pushPong()
	q.size += len(b)
	if m != nil && m.Shared() && len(b) >= minReference {
		q.chunks = append(q.chunks, chunk{data: b, shared: m})
		q.budget.Hold(m)
		return
	}
	q.budget.Add(len(b))
	if n := len(q.chunks); n > q.first {
		last := &q.chunks[n-1]
		if last.copied != nil && len(last.data)+len(b) <= maxCopied {
			last.copied.B = append(last.copied.B, b...)
			last.data = last.copied.B
			return
		}
	}
	copied := chunks.Get()
	copied.B = append(copied.B, b...)
	q.chunks = append(q.chunks, chunk{data: copied.B, copied: copied})
}

// vectors appends to dst as many chunks as fit.
func (q *queue) vectors(dst [][]byte) [][]byte {
	written := q.written
	for i := q.first; i < len(q.chunks) && len(dst) < cap(dst); i++ {
		dst = append(dst, q.chunks[i].data[written:])
		written = 0
	}
	return dst
}

// advance removes n bytes from the front.
func (q *queue) advance(n int) {
	q.size -= n
	n += q.written
	for q.first < len(q.chunks) && n >= len(q.chunks[q.first].data) {
		done := &q.chunks[q.first]
		n -= len(done.data)
		q.report(done)
		if done.copied != nil {
			chunks.Put(done.copied)
		}
		*done = chunk{}
		q.first++
	}
	q.written = n
	// Written chunks must not accumulate in a queue that is never quite empty.
	if q.first > 32 && q.first > len(q.chunks)/2 {
		n := copy(q.chunks, q.chunks[q.first:])
		clear(q.chunks[n:])
		q.chunks = q.chunks[:n]
		q.first = 0
	}
}

// report tells the budget that the queue no longer holds c.
func (q *queue) report(c *chunk) {
	if c.shared != nil {
		q.budget.Drop(c.shared)
	} else {
		q.budget.Add(-len(c.data))
	}
}

// discard drops the queue. Its chunks are not reused: the writer of a goroutine connection may be writing them.
func (q *queue) discard() {
	for i := range q.chunks[q.first:] {
		q.report(&q.chunks[q.first+i])
	}
}

// release returns an empty queue to the pool.
func (q *queue) release() {
	if cap(q.chunks) > 64 {
		q.chunks = nil
	}
	*q = queue{chunks: q.chunks[:0]}
	queues.Put(q)
}
