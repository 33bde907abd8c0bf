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
	// maxGathered is the size in bytes up to which messages of one turn wait for its end.
	maxGathered = 16 << 10
)

// queue holds bytes that have been sent but not been taken by the kernel. It belongs to a Conn and is
// guarded by Conn.mu. A Conn with nothing to write has none.
type queue struct {
	chunks  []chunk
	first   int // index of the first chunk that is not written
	written int // bytes of it that are
	size    int // bytes that are not

	pong []byte // a frame that follows the chunks; a later one takes its place
}

// chunk is immutable if copied is nil. Otherwise data is copied.B, to which more may be appended.
type chunk struct {
	data   []byte
	copied *bytebufferpool.ByteBuffer
}

var (
	queues sync.Pool
	chunks bufpool.Pool
)

// sendLocked writes b, or queues what the kernel does not take: by reference if b is immutable.
func (c *Conn) sendLocked(b []byte, immutable bool) error {
	if c.has(closing | mute) {
		return transport.ErrClosed
	}
	waits := !c.has(started) || c.has(corked)
	if !waits && c.gathersLocked() {
		if waits = c.gathered()+len(b) <= min(maxGathered, c.options().MaxQueuedBytes); !waits {
			c.flushLocked()
			if c.has(closing | mute) {
				return transport.ErrClosed
			}
		}
	}
	if c.out == nil && !waits {
		n, err := c.carrier().write(c, b)
		if err != nil {
			c.writeFailedLocked(err)
			return transport.ErrClosed
		}
		if b = b[n:]; len(b) == 0 {
			if c.has(gathering) {
				c.state.Or(preceded)
			}
			return nil
		}
	}
	size := len(b)
	if c.out != nil {
		size += c.out.size
	}
	if size > c.options().MaxQueuedBytes {
		c.carrier().server().slowPeers.Add(1)
		c.endLocked(broken, transport.ErrSlowPeer)
		return transport.ErrSlowPeer
	}
	if c.out == nil {
		q, _ := queues.Get().(*queue)
		if q == nil {
			q = new(queue)
		}
		c.out = q
	}
	c.out.push(b, immutable)
	if !waits {
		c.carrier().watch(c)
	}
	return nil
}

// sendPong answers a ping. While a queue shows that the peer does not read, only the last of its pings is answered.
//
// RFC 6455 section 5.5.3.
func (c *Conn) sendPong(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil && c.out.size > maxGathered && !c.has(closing|mute) {
		c.out.pong = append(transport.AppendHeader(c.out.pong[:0], transport.OpPong, len(payload)), payload...)
		return
	}
	c.sendFrameLocked(transport.OpPong, payload)
}

// gather is called by the loop when the turn of c begins. From then on the first message is written immediately, later ones
// when the turn ends, or before if they are many. A Run that lasts is not waited for.
func (c *Conn) gather() { c.state.Or(gathering) }

// gathersLocked reports whether what is sent now may wait for the end of the turn: something precedes it, and the kernel
// has taken that.
func (c *Conn) gathersLocked() bool {
	return c.state.Load()&(gathering|preceded|writing) == gathering|preceded
}

// gathered returns the number of bytes that wait.
func (c *Conn) gathered() int {
	if c.out == nil {
		return 0
	}
	return c.out.size
}

// scatter undoes gather. It is called when the turn ends, or when a Run has lasted too long.
func (c *Conn) scatter() {
	if c.state.And(^uint32(gathering|preceded))&preceded == 0 {
		return // nothing waits
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeOutLocked()
}

// writeOutLocked writes what is queued, and has the carrier write what the kernel does not take.
func (c *Conn) writeOutLocked() {
	if c.out == nil || c.has(corked) || !c.has(started) {
		return
	}
	c.flushLocked()
	if c.out != nil {
		c.carrier().watch(c)
	} else if c.has(closing) {
		c.signal()
	}
}

// flushLocked writes the first chunks of the queue as far as the kernel takes them.
func (c *Conn) flushLocked() {
	if c.out == nil {
		return
	}
	n, err := c.carrier().writeQueue(c)
	if err != nil {
		c.writeFailedLocked(err)
		return
	}
	c.advanceLocked(n)
}

// advanceLocked removes n written bytes from the queue, and the queue if it is empty.
func (c *Conn) advanceLocked(n int) {
	c.out.advance(n)
	if c.out.size == 0 {
		c.out.pushPong()
	}
	if c.out.size == 0 {
		c.out.reset()
		queues.Put(c.out)
		c.out = nil
	}
}

// writeFailedLocked is called after a write has failed. If the peer is gone, messages and a close
// frame may still wait to be read; the end of the connection is found behind them.
func (c *Conn) writeFailedLocked(err error) {
	// The chunks may be in use by the writer of a goroutine connection, so they are not reused.
	c.out = nil
	if !peerGone(err) || c.has(closing) {
		c.endLocked(broken, lostError(err))
		return
	}
	c.state.Or(mute)
	c.resumeLocked()
}

// pushPong appends the pong that waits, if there is one.
func (q *queue) pushPong() {
	if pong := q.pong; len(pong) > 0 {
		q.pong = nil
		q.push(pong, false)
	}
}

// push appends b, as a copy unless it is immutable and worth a reference.
func (q *queue) push(b []byte, immutable bool) {
	q.pushPong()
	q.size += len(b)
	if immutable && len(b) >= minReference {
		q.chunks = append(q.chunks, chunk{data: b})
		return
	}
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

// reset makes an empty queue ready for another connection.
func (q *queue) reset() {
	if cap(q.chunks) > 64 {
		q.chunks = nil
	}
	*q = queue{chunks: q.chunks[:0]}
}
