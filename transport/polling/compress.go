package polling

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"sync"
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

// compress writes b to w with the given content coding.
func compress(w io.Writer, coding string, b []byte) error {
	pool := &gzipWriters
	if coding == deflateCoding {
		pool = &deflateWriters
	}
	z := pool.Get().(interface {
		io.WriteCloser
		Reset(io.Writer)
	})
	defer func() {
		z.Reset(io.Discard)
		pool.Put(z)
	}()
	z.Reset(w)
	if _, err := z.Write(b); err != nil {
		return err
	}
	return z.Close()
}
