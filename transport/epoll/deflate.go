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

// PerMessageDeflate configures the compression of messages. The zero value of each field is its default and leaves
// the choice to the client. Negotiation otherwise follows the reference.
//
// RFC 7692.
type PerMessageDeflate struct {
	// Threshold is the smallest payload in bytes that is compressed on connections without server context takeover.
	// With context takeover all payloads are compressed, so that clients' contexts match the reference.
	// Zero means 1024; negative compresses all payloads on all connections. Node.js: perMessageDeflate.threshold.
	Threshold int
	// Level is the compression level, from 1, the fastest, to 9. Zero means 1. It has no effect where a window of
	// less than 15 bits has been negotiated. Node.js: perMessageDeflate.zlibDeflateOptions.level.
	Level int

	// ServerNoContextTakeover compresses each message independently: a broadcast is compressed once for all
	// clients, and connections keep no context. Node.js: perMessageDeflate.serverNoContextTakeover.
	ServerNoContextTakeover bool
	// DisableServerNoContextTakeover rejects offers that request it. Node.js:
	// perMessageDeflate.serverNoContextTakeover: false.
	DisableServerNoContextTakeover bool
	// ClientNoContextTakeover makes clients compress each message independently, so that the server keeps no
	// context of received messages. Node.js: perMessageDeflate.clientNoContextTakeover.
	ClientNoContextTakeover bool
	// ServerMaxWindowBits is the base-2 logarithm of the server's window in bytes, 8 to 15. Zero means the client's
	// request, or 15; negative rejects offers that request a limit. Node.js: perMessageDeflate.serverMaxWindowBits.
	ServerMaxWindowBits int
	// ClientMaxWindowBits is the same for the client's window; offers of clients that cannot limit it are rejected.
	// Zero means the client's offer; negative means no limit. Node.js: perMessageDeflate.clientMaxWindowBits.
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

// maxSent bounds the context kept of sent messages for a client with context takeover, in bytes. The rest of a
// larger window is not used: the compressor receives the context anew with each message, and eight times the work
// would save one byte in twenty.
const maxSent = 4 << 10

// deflate is the state of permessage-deflate on one connection. It holds no compressor; compressors come from pools
// while a message is processed.
type deflate struct {
	deflater       *deflater
	serverTakeover bool
	clientTakeover bool
	receivedLimit  uint16 // bytes
	sent           []byte // end of the compressed messages, with serverTakeover; guarded by Conn.mu
	received       []byte // end of the inflated messages, with clientTakeover; owned by the reader
}

func (s *Server) newDeflate(e *extension) *deflate {
	return &deflate{
		deflater:       s.deflate[e.windowBits(serverMaxWindowBits)],
		serverTakeover: e.value[serverNoContextTakeover] == 0,
		clientTakeover: e.value[clientNoContextTakeover] == 0,
		// zlib uses a window of 9 bits when 8 are requested.
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

// sentFrame is a frame of a Message: final, unmasked and uncompressed.
type sentFrame struct {
	all     []byte
	op      transport.Op
	payload []byte
}

// splitFrame splits off the first frame.
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

// Deflate implements transport.Deflater. If no payload is worth compressing, it returns frames unchanged.
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

// appendFrames appends frames and compresses payloads that reach the threshold.
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

// appendFrame appends f compressed. context holds the end of earlier messages, as known to the receiver.
func (d *deflater) appendFrame(dst []byte, f sentFrame, context []byte) []byte {
	start := len(dst)
	// The header has about the same length as the one of the uncompressed frame.
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

// flateWriter is a compressor and the destination of its output.
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

// appendPayload appends payload compressed.
func (d *deflater) appendPayload(dst, payload, context []byte) []byte {
	w, _ := d.writers.Get().(*flateWriter)
	if w == nil {
		w = d.newWriter()
	}
	w.out.b = dst
	w.ResetDict(&w.out, context)
	w.Write(payload) // an appender accepts everything
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

// inflater is a decompressor and the source of its input.
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
	minInflate = 512 // minimum estimate of an inflated message in bytes
)

// tail follows a compressed message: the bytes that the sender omitted from its last flush, and an empty final
// block, which distinguishes a complete message from a truncated one.
const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflate appends payload decompressed to dst and accepts at most limit bytes.
//
// RFC 7692 section 7.2.2. As in the reference, a final block ends a message, and an empty payload is an empty
// message.
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
