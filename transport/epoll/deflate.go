package epoll

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/transport"
)

// PerMessageDeflate configures the compression of messages. The zero value of each field is its default,
// which leaves the choice to the client. What is not said here of the negotiation is as in the reference.
//
// RFC 7692.
type PerMessageDeflate struct {
	// Threshold is the size in bytes of the smallest payload that is compressed on connections without
	// context take-over by the server. On the others all are, so that the contexts of all clients become
	// what they would be with the reference. Zero means 1024, negative that all are on all connections.
	// Node.js: perMessageDeflate.threshold.
	Threshold int
	// Level is how hard to compress, from 1, the fastest, to 9. Zero means 1. It does not apply where a
	// window of less than 15 bits has been negotiated. Node.js: perMessageDeflate.zlibDeflateOptions.level.
	Level int

	// ServerNoContextTakeover compresses each message on its own: a broadcast is then compressed once
	// for all, and connections keep no context. Node.js: perMessageDeflate.serverNoContextTakeover.
	ServerNoContextTakeover bool
	// DisableServerNoContextTakeover does not accept offers of clients that ask for it. Node.js:
	// perMessageDeflate.serverNoContextTakeover: false.
	DisableServerNoContextTakeover bool
	// ClientNoContextTakeover has clients compress each message on its own, so that nothing of what they
	// sent is kept. Node.js: perMessageDeflate.clientNoContextTakeover.
	ClientNoContextTakeover bool
	// ServerMaxWindowBits is the binary logarithm of the server's window in bytes, 8 to 15. Zero means what
	// the client asks for, or 15; negative does not accept offers that ask. Node.js:
	// perMessageDeflate.serverMaxWindowBits.
	ServerMaxWindowBits int
	// ClientMaxWindowBits is the same for the client's window; offers of clients that cannot limit it are not
	// accepted. Zero means what the client offers, negative that it is not limited. Node.js:
	// perMessageDeflate.clientMaxWindowBits.
	ClientMaxWindowBits int
}

const (
	defaultThreshold = 1024 // bytes
	defaultLevel     = 1
)

func (o *PerMessageDeflate) withDefaults() (*PerMessageDeflate, error) {
	c := *o
	if c.Level < 0 || c.Level > 9 {
		return nil, errors.New("epoll: PerMessageDeflate.Level is not between 0 and 9")
	}
	for _, bits := range []int{c.ServerMaxWindowBits, c.ClientMaxWindowBits} {
		if bits > maxWindowBits || bits > 0 && bits < minWindowBits {
			return nil, errors.New("epoll: window bits in PerMessageDeflate are not between 8 and 15")
		}
	}
	if c.Threshold == 0 {
		c.Threshold = defaultThreshold
	}
	if c.Level == 0 {
		c.Level = defaultLevel
	}
	return &c, nil
}

// maxSent is how much of what has been sent is kept for a client with context take-over, in bytes. What
// more the window would hold is not referred to: with each message the compressor is given the context
// anew, and eight times the work would save one byte in twenty.
const maxSent = 4 << 10

// deflate is the state of permessage-deflate on one connection. It holds no compressor: those come
// from pools for as long as it takes to deal with a message.
type deflate struct {
	deflater       *deflater
	serverTakeover bool
	clientTakeover bool
	receivedLimit  uint16 // bytes
	sent           []byte // end of what has been compressed, with serverTakeover; guarded by Conn.mu
	received       []byte // end of what has been inflated, with clientTakeover; belongs to the reader
}

func (s *Server) newDeflate(e *extension) *deflate {
	return &deflate{
		deflater:       s.deflate[e.windowBits(serverMaxWindowBits)],
		serverTakeover: e.value[serverNoContextTakeover] == 0,
		clientTakeover: e.value[clientNoContextTakeover] == 0,
		// zlib uses a window of 9 bits when asked for 8.
		receivedLimit: 1 << max(e.windowBits(clientMaxWindowBits), 9),
	}
}

// sendMessageDeflated is Send for a message that may be compressed.
func (c *Conn) sendMessageDeflated(m *transport.Message) error {
	d := c.deflate
	if d.serverTakeover || !m.Shared() {
		return c.sendDeflated(m.Frames(c.format()))
	}
	frames := m.Deflated(c.format(), d.deflater)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendLocked(frames, m)
}

// sendDeflated sends frames with compressed payloads.
func (c *Conn) sendDeflated(frames []byte) error {
	b := buffers.Get()
	defer buffers.Put(b)
	d := c.deflate
	if !d.serverTakeover {
		b.B = d.deflater.appendFrames(b.B, frames)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.sendLocked(b.B, nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.has(closing | mute) {
		return transport.ErrClosed
	}
	limit := min(maxSent, d.deflater.window)
	for len(frames) > 0 {
		var f sentFrame
		f, frames = splitFrame(frames)
		b.B = d.deflater.appendFrame(b.B, f, d.sent)
		d.sent = slide(d.sent, f.payload, limit)
	}
	return c.sendLocked(b.B, nil)
}

// slide appends b to a window of at most limit bytes and returns the window.
func slide(window, b []byte, limit int) []byte {
	if len(b) > limit {
		b = b[len(b)-limit:]
	}
	if excess := len(window) + len(b) - limit; excess > 0 {
		window = window[:copy(window, window[excess:])]
	}
	if n := len(window) + len(b); n > cap(window) {
		grown := make([]byte, len(window), min(limit, max(n, 2*cap(window))))
		copy(grown, window)
		window = grown
	}
	return append(window, b...)
}

// sentFrame is a frame as a Message holds it: final and neither masked nor compressed.
type sentFrame struct {
	all     []byte
	op      transport.Op
	payload []byte
}

// splitFrame cuts the first frame off.
func splitFrame(frames []byte) (f sentFrame, rest []byte) {
	size, length := 2, int(frames[1])
	switch length {
	case 126:
		size, length = 4, int(binary.BigEndian.Uint16(frames[2:]))
	case 127:
		size, length = 10, int(binary.BigEndian.Uint64(frames[2:]))
	}
	f.op = transport.Op(frames[0] & opBits)
	f.all, rest = frames[:size+length], frames[size+length:]
	f.payload = f.all[size:]
	return f, rest
}

// deflater compresses in windows of one size.
type deflater struct {
	window    int // bytes
	level     int
	threshold int
	writers   sync.Pool // of *flateWriter
}

var _ transport.Deflater = (*deflater)(nil)

func newDeflater(o *PerMessageDeflate, bits int) *deflater {
	return &deflater{window: 1 << bits, level: o.Level, threshold: o.Threshold}
}

// Deflate implements transport.Deflater. If no payload is worth compressing, it returns frames themselves.
func (d *deflater) Deflate(frames []byte) []byte {
	for rest := frames; len(rest) > 0; {
		var f sentFrame
		if f, rest = splitFrame(rest); len(f.payload) >= d.threshold {
			b := buffers.Get()
			defer buffers.Put(b)
			b.B = d.appendFrames(b.B, frames)
			return slices.Clone(b.B)
		}
	}
	return frames
}

// appendFrames appends frames, with those payloads compressed that reach the threshold.
func (d *deflater) appendFrames(dst, frames []byte) []byte {
	for len(frames) > 0 {
		var f sentFrame
		if f, frames = splitFrame(frames); len(f.payload) < d.threshold {
			dst = append(dst, f.all...)
			continue
		}
		dst = d.appendFrame(dst, f, nil)
	}
	return dst
}

// appendFrame appends f compressed. context is what the receiver has of earlier messages.
func (d *deflater) appendFrame(dst []byte, f sentFrame, context []byte) []byte {
	start := len(dst)
	// The header is about as long as that of the uncompressed frame.
	dst = append(dst, f.all[:len(f.all)-len(f.payload)]...)
	payload := len(dst)
	dst = d.appendPayload(dst, f.payload, context)
	n := len(dst) - payload
	var header [maxHead]byte
	h := transport.AppendHeader(header[:0], f.op, n)
	h[0] |= rsv1Bit
	if len(h) != payload-start {
		dst = slices.Replace(dst, start, payload, h...)
		return dst
	}
	copy(dst[start:], h)
	return dst
}

// flateWriter is a compressor and where its output goes.
type flateWriter struct {
	*flate.Writer
	out appender
}

type appender struct{ b []byte }

func (a *appender) Write(b []byte) (int, error) {
	a.b = append(a.b, b...)
	return len(b), nil
}

// flushed is the number of bytes at the end of each flush that are not sent, RFC 7692 section 7.2.1.
const flushed = 4

// appendPayload appends what payload is after compression.
func (d *deflater) appendPayload(dst, payload, context []byte) []byte {
	w, _ := d.writers.Get().(*flateWriter)
	if w == nil {
		w = d.newWriter()
	}
	w.out.b = dst
	w.ResetDict(&w.out, context)
	w.Write(payload) // an appender takes everything
	w.Flush()
	dst = w.out.b[:len(w.out.b)-flushed]
	w.out.b = nil
	d.writers.Put(w)
	return dst
}

func (d *deflater) newWriter() *flateWriter {
	w := new(flateWriter)
	var err error
	if d.window < 1<<maxWindowBits {
		w.Writer, err = flate.NewWriterWindow(&w.out, d.window)
	} else {
		w.Writer, err = flate.NewWriter(&w.out, d.level)
	}
	if err != nil {
		panic("epoll: " + err.Error()) // the arguments have been checked
	}
	return w
}

// inflater is a decompressor and where its input comes from.
type inflater struct {
	flate io.ReadCloser
	in    bytes.Reader
}

var (
	inflaters sync.Pool // of *inflater
	inputs    bufpool.Pool
)

const (
	usualRatio = 4   // inflated to compressed size of JSON
	minInflate = 512 // bytes to which a message is at least expected to inflate
)

// tail is put behind a compressed message: what the sender has left out of its last flush, and then an empty
// block that ends the stream, so that a message that breaks off is told from a complete one.
const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflate appends to dst what a peer has compressed to payload, of which limit bytes are accepted.
//
// RFC 7692 section 7.2.2. As in the reference, a final block ends a message, and nothing is empty.
func (d *deflate) inflate(dst *bytebufferpool.ByteBuffer, payload []byte, limit int64) *transport.ProtocolError {
	if len(payload) == 0 {
		return nil
	}
	input := inputs.Get()
	defer inputs.Put(input)
	input.B = append(append(input.B, payload...), tail...)
	f, _ := inflaters.Get().(*inflater)
	if f == nil {
		f = new(inflater)
		f.flate = flate.NewReader(&f.in)
	}
	defer inflaters.Put(f)
	f.in.Reset(input.B)
	defer f.in.Reset(nil)
	f.flate.(flate.Resetter).Reset(&f.in, d.received) // cannot fail

	start := len(dst.B)
	for {
		if len(dst.B) == cap(dst.B) {
			dst.B = slices.Grow(dst.B, int(min(limit, usualRatio*int64(len(payload))))+minInflate)
		}
		space := dst.B[len(dst.B):cap(dst.B)]
		left := limit - int64(len(dst.B)-start)
		if int64(len(space)) > left {
			space = space[:left+1] // one byte more shows that the limit is exceeded
		}
		n, err := f.flate.Read(space)
		dst.B = dst.B[:len(dst.B)+n]
		switch {
		case int64(n) > left:
			return errTooBig
		case err == io.EOF:
			if d.clientTakeover {
				d.received = slide(d.received, dst.B[start:], int(d.receivedLimit))
			}
			return nil
		case err != nil:
			return errDeflate
		}
	}
}
