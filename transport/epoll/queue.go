package epoll

import (
	"sync"

	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/transport"
)

const (
	// minReference is the size in bytes from which a shared message is queued by reference; copying a
	// smaller one costs less memory than the reference.
	minReference = 128
	// maxCopied is the size in bytes up to which copied messages are put together in one chunk.
	maxCopied = 16 << 10
)

// queue holds bytes that have been sent but not been taken by the kernel. It belongs to a Conn and is
// guarded by Conn.mu. A Conn with nothing to write has none.
type queue struct {
	budget  *transport.Budget // is told of what the queue holds
	chunks  []chunk
	first   int // index of the first chunk that is not written
	written int // bytes of it that are
	size    int // bytes that are not

	pong []byte // a frame that follows the chunks; a later one takes its place
}

// chunk is a piece of a queue. One of copied and shared is set.
type chunk struct {
	data   []byte
	copied *bytebufferpool.ByteBuffer // data is its content, to which more may be appended
	shared *transport.Message         // data are frames of it
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

// pushPong appends the pong that waits, if there is one.
func (q *queue) pushPong() {
	if pong := q.pong; len(pong) > 0 {
		q.pong = nil
		q.push(pong, nil)
	}
}

// push appends b, as a copy unless b are frames of m, and m is shared and worth a reference.
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

// vectors appends the next chunks to dst, as many as fit.
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
	// Chunks that have been written must not fill the slice of a queue that is never quite empty.
	if q.first > 32 && q.first > len(q.chunks)/2 {
		n := copy(q.chunks, q.chunks[q.first:])
		clear(q.chunks[n:])
		q.chunks = q.chunks[:n]
		q.first = 0
	}
}

// report tells the budget that the queue does not hold c any more.
func (q *queue) report(c *chunk) {
	if c.shared != nil {
		q.budget.Drop(c.shared)
	} else {
		q.budget.Add(-len(c.data))
	}
}

// discard drops what is queued. The chunks are not used again: the writer of a goroutine connection may be writing them.
func (q *queue) discard() {
	for i := range q.chunks[q.first:] {
		q.report(&q.chunks[q.first+i])
	}
}

// release makes an empty queue available to other connections.
func (q *queue) release() {
	if cap(q.chunks) > 64 {
		q.chunks = nil
	}
	*q = queue{chunks: q.chunks[:0]}
	queues.Put(q)
}
