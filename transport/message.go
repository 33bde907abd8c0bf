package transport

import (
	"encoding/base64"
	"sync"
	"sync/atomic"

	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/bufpool"
)

// Format says how the messages of a session are put into WebSocket frames.
type Format uint8

const (
	// FormatV4 is Engine.IO protocol v4: text frames carry "4" and the text, binary frames the bare bytes.
	FormatV4 Format = iota
	// FormatV3 is Engine.IO protocol v3: binary frames start with the type byte 0x04.
	FormatV3
	// FormatV4Base64 is v4 for a client that asked for b64: binary travels as text, "b" and base64.
	FormatV4Base64
	// FormatV3Base64 is v3 for a client that asked for b64: binary travels as text, "b4" and base64.
	FormatV3Base64

	formats = iota
)

// Headroom is the number of bytes that a Message keeps free in front of its text, so that the
// packet type and the frame header are written there and the text is never moved.
const Headroom = maxHeader + 1

// Message is an application message: one text followed by its binary attachments, or binary alone.
// Its parts reach the peer directly one behind the other, as one Engine.IO message packet each.
//
// A Message has one of two lives. As [NewMessage] returns it, it belongs to one goroutine, which
// fills it, sends it any number of times and releases it. After [Message.Share] it is immutable,
// may be used by any number of goroutines and may be kept; releasing it does nothing.
type Message struct {
	// NoCompress asks transports not to compress the message. Set it before Share.
	NoCompress bool

	buf    *bytebufferpool.ByteBuffer // Headroom free bytes, then the text
	text   bool
	shared bool
	binary [][]byte

	frames   [formats]atomic.Pointer[[]byte] // of a shared Message
	deflated atomic.Pointer[deflated]        // of a shared Message, compressed

	budget atomic.Pointer[Budget] // of a shared Message: the first that it was held by
	holds  atomic.Int64           // queues of that budget that refer to it
}

// Deflater compresses the payloads of complete frames and returns the frames that take their place,
// which may be the same. Values have to be comparable; the same value always returns the same.
type Deflater interface {
	Deflate(frames []byte) []byte
}

// deflated is an element of a list of what Deflaters have made of a Message.
type deflated struct {
	format Format
	by     Deflater
	once   sync.Once
	frames []byte
	next   *deflated
}

var (
	messages sync.Pool
	buffers  bufpool.Pool
)

// NewMessage returns an empty Message from a pool.
func NewMessage() *Message {
	m, _ := messages.Get().(*Message)
	if m == nil {
		m = new(Message)
	}
	m.buf = buffers.Get()
	var free [Headroom]byte
	m.buf.B = append(m.buf.B[:0], free[:]...)
	return m
}

// TextMessage returns a shared Message with a copy of text.
func TextMessage(text string) *Message {
	m := NewMessage()
	m.SetText(append(m.Buffer(), text...))
	return m.Share()
}

// Buffer returns the buffer to append the text to. It already holds Headroom bytes; what was
// appended becomes the text with SetText.
func (m *Message) Buffer() []byte { return m.buf.B[:Headroom] }

// SetText makes b, which was grown from Buffer by appending, the text of m.
func (m *Message) SetText(b []byte) {
	m.buf.B = b
	m.text = true
}

// SetBinary sets the attachments. They are not copied: until m is sent or shared they must not change.
func (m *Message) SetBinary(attachments ...[]byte) { m.binary = attachments }

// SetPacket sets what an encoder has made: text, which was grown from Buffer by appending, if anything was
// appended, and the attachments.
func (m *Message) SetPacket(text []byte, attachments [][]byte) {
	if len(text) > Headroom {
		m.SetText(text)
	}
	m.binary = attachments
}

// Text returns the text without a packet type, and whether there is one. It is valid until Release.
func (m *Message) Text() (text []byte, ok bool) {
	if !m.text {
		return nil, false
	}
	return m.buf.B[Headroom:], true
}

// Binary returns the attachments.
func (m *Message) Binary() [][]byte { return m.binary }

// Size is the number of payload bytes in all parts.
func (m *Message) Size() int {
	n := 0
	if m.text {
		n = len(m.buf.B) - Headroom
	}
	for _, b := range m.binary {
		n += len(b)
	}
	return n
}

// Shared reports whether m is immutable and may be kept.
func (m *Message) Shared() bool { return m.shared }

// Share makes m immutable and returns it. The frames of FormatV4 are made at once; they hold a copy
// of the attachments, but the other formats are made from the attachments themselves when they are
// first asked for, so these must not change for as long as m is in use.
func (m *Message) Share() *Message {
	if m.shared {
		return m
	}
	m.frameText()
	b := m.buf.B
	head := m.buf.B[:len(b):len(b)]
	frames := head[m.start():]
	if len(m.binary) > 0 {
		frames = m.appendBinaryFrames(append([]byte(nil), frames...), FormatV4)
	}
	m.frames[FormatV4].Store(&frames)
	m.shared = true
	return m
}

// Retain returns a Message that may be kept: m itself if it is shared, or a shared copy.
func (m *Message) Retain() *Message {
	if m.shared {
		return m
	}
	c := &Message{NoCompress: m.NoCompress, text: m.text}
	c.buf = &bytebufferpool.ByteBuffer{B: append([]byte(nil), m.buf.B...)}
	if len(m.binary) > 0 {
		c.binary = make([][]byte, len(m.binary))
		for i, b := range m.binary {
			c.binary[i] = append([]byte{}, b...)
		}
	}
	return c.Share()
}

// Release gives the buffers of an unshared Message back. Neither m nor bytes obtained from it may be
// used afterwards. It does nothing if m is shared.
func (m *Message) Release() {
	if m.shared {
		return
	}
	buffers.Put(m.buf)
	*m = Message{}
	messages.Put(m)
}

// Frames returns the complete WebSocket frames of m, uncompressed. The bytes of a shared Message are
// immutable and may be kept; those of another are valid until the next call of Frames or Release.
//
// Engine.IO protocol v4, "WebSocket"; RFC 6455 section 5.2.
func (m *Message) Frames(f Format) []byte {
	if len(m.binary) == 0 {
		f = FormatV4 // a text looks the same in all of them
	}
	if !m.shared {
		m.frameText()
		if len(m.binary) == 0 {
			return m.buf.B[m.start():]
		}
		text := len(m.buf.B)
		all := m.appendBinaryFrames(m.buf.B, f)
		m.buf.B = all[:text]
		return all[m.start():]
	}
	if p := m.frames[f].Load(); p != nil {
		return *p
	}
	var frames []byte
	if m.text {
		frames = append(frames, m.buf.B[m.start():]...)
	}
	frames = m.appendBinaryFrames(frames, f)
	m.frames[f].Store(&frames)
	return frames
}

// Deflated returns what d makes of Frames(f). m must be shared. d is called once for each format, however
// many goroutines ask; its result is kept with m and immutable.
func (m *Message) Deflated(f Format, d Deflater) []byte {
	if len(m.binary) == 0 {
		f = FormatV4 // as for Frames
	}
	for {
		first := m.deflated.Load()
		for e := first; e != nil; e = e.next {
			if e.format == f && e.by == d {
				e.once.Do(func() { e.frames = d.Deflate(m.Frames(f)) })
				return e.frames
			}
		}
		m.deflated.CompareAndSwap(first, &deflated{format: f, by: d, next: first})
	}
}

// start is the index in buf of the first byte of the text frame, or its end if there is no text.
func (m *Message) start() int {
	if !m.text {
		return len(m.buf.B)
	}
	return Headroom - 1 - headerSize(len(m.buf.B)-Headroom+1)
}

// frameText writes packet type and frame header into the headroom in front of the text.
func (m *Message) frameText() {
	if !m.text {
		return
	}
	b := m.buf.B
	b[Headroom-1] = byte(packet.Message)
	n := len(b) - Headroom + 1
	AppendHeader(b[:m.start()], OpText, n)
}

func (m *Message) appendBinaryFrames(dst []byte, f Format) []byte {
	for _, b := range m.binary {
		p := packet.Packet{Type: packet.Message, Binary: true, Data: b}
		switch f {
		case FormatV4:
			dst = append(AppendHeader(dst, OpBinary, len(b)), b...)
		case FormatV3:
			dst = append(AppendHeader(dst, OpBinary, len(b)+1), byte(p.Type-packet.Open))
			dst = append(dst, b...)
		case FormatV4Base64:
			dst = packet.Append(AppendHeader(dst, OpText, 1+base64.StdEncoding.EncodedLen(len(b))), p)
		case FormatV3Base64:
			dst = packet.AppendV3(AppendHeader(dst, OpText, 2+base64.StdEncoding.EncodedLen(len(b))), p)
		}
	}
	return dst
}
