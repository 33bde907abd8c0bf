// Package bufpool is a pool of byte buffers. It discards large ones, so that one large message does not occupy
// memory indefinitely.
//
// It imports no other package of the project. Every package that builds messages in pooled buffers imports it.
package bufpool

import "github.com/valyala/bytebufferpool"

// maxKept is the capacity in bytes of the largest buffer that returns to the pool.
const maxKept = 64 << 10

// Pool is a pool of buffers. The zero value is ready for use. Its methods are safe for concurrent use.
type Pool struct{ buffers bytebufferpool.Pool }

// Get returns an empty buffer.
func (p *Pool) Get() *bytebufferpool.ByteBuffer { return p.buffers.Get() }

// Put returns b to the pool. b must not be used afterwards.
func (p *Pool) Put(b *bytebufferpool.ByteBuffer) {
	if cap(b.B) <= maxKept {
		p.buffers.Put(b)
	}
}
