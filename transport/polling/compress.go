package polling

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"runtime"
	"sync"

	"github.com/valyala/bytebufferpool"
)

// The supported content codings. "deflate" is the zlib format, RFC 9110 section 8.4.1.2.
const (
	gzipCoding    = "gzip"
	deflateCoding = "deflate"
)

var (
	gzipWriters    = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}
	deflateWriters = sync.Pool{New: func() any { return zlib.NewWriter(io.Discard) }}
)

// compressing limits the number of simultaneous compressions. Each has hundreds of kilobytes of state, and a broadcast
// may answer any number of GETs at once.
var compressing = make(chan struct{}, runtime.GOMAXPROCS(0))

// compress appends b with the given content coding to dst.
func compress(dst *bytebufferpool.ByteBuffer, coding string, b []byte) {
	pool := &gzipWriters
	if coding == deflateCoding {
		pool = &deflateWriters
	}
	compressing <- struct{}{}
	defer func() { <-compressing }()
	z := pool.Get().(interface {
		io.WriteCloser
		Reset(io.Writer)
	})
	z.Reset(dst)
	_, _ = z.Write(b) // dst takes everything
	_ = z.Close()
	z.Reset(io.Discard)
	pool.Put(z)
}

// compressors compress the responses to parked GETs.
var compressors crew

// crew runs functions on up to GOMAXPROCS goroutines, which exist only while there is work.
type crew struct {
	mu      sync.Mutex
	waiting []func()
	working int
}

// do runs f later. f must not block.
func (c *crew) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, f)
	if c.working < runtime.GOMAXPROCS(0) {
		c.working++
		go c.work()
	}
}

func (c *crew) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 {
		f := c.waiting[0]
		c.waiting[0] = nil
		c.waiting = c.waiting[1:]
		c.mu.Unlock()
		f()
		c.mu.Lock()
	}
	c.waiting = nil
	c.working--
}
