package transport

import (
	"encoding/base64"
	"sync"
	"sync/atomic"

	"github.com/myriad-rt/myriad/engineio/packet"
)

// Format selects the encoding of a session's messages in WebSocket frames.
type Format uint8

const (
	// FormatV4 is Engine.IO protocol v4: text frames carry "4" and the text, binary frames the bare bytes.
	FormatV4 Format = iota
	// FormatV3 is Engine.IO protocol v3: binary frames start with the type byte 0x04.
	FormatV3
	// FormatV4Base64 is v4 for a client that requested b64: binary is sent as text, "b" and base64.
	FormatV4Base64
	// FormatV3Base64 is v3 for a client that requested b64: binary is sent as text, "b4" and base64.
	FormatV3Base64

	formats = iota
)

// Headroom is the number of bytes that a Message reserves in front of its text. The packet type, the frame header
// and the argument of [Message.Prepend] are written there, so the text never moves.
const Headroom = 64

// frameRoom is the part of Headroom reserved for the packet type and the frame header.
const frameRoom = maxHeader + 1

// Message is an application message: one text followed by its binary attachments, or binary alone. Its parts reach
// the peer back to back, each as one Engine.IO message packet.
//
// A Message returned by [NewMessage] belongs to one goroutine, which fills it, sends it any number of times and
// releases it. A Message returned by [Message.Share] is immutable, may be used by any number of goroutines and may
// be retained; Release does nothing.
type Message struct {
	// NoCompress asks transports not to compress the message. Set it before Share.
	NoCompress bool

	text   bool
	shared bool
	at     int    // index in data of the first byte of the text, if any
	end    int    // index in data of the first byte after the text
	data   []byte // Headroom free bytes, then the text; of a shared Message its frames of FormatV4
	binary [][]byte

	frames   [formats]atomic.Pointer[[]byte] // of a shared Message, in other formats
	deflated atomic.Pointer[deflated]        // of a shared Message, compressed

	budget atomic.Pointer[Budget] // of a shared Message: the first budget that held it
	holds  atomic.Int64           // of a shared Message: queues of that budget that refer to it
}

// Deflater compresses the payloads of complete frames and returns the replacement frames, which may be the same.
// Values must be comparable; equal values must produce the same frames.
type Deflater interface {
	Deflate(frames []byte) []byte
}

// deflated is an entry in the list of a Message's compressed forms, one for each Deflater.
type deflated struct {
	format Format
	by     Deflater
	once   sync.Once
	frames []byte
	next   *deflated
}

var messages = sync.Pool{New: func() any { return &Message{data: make([]byte, Headroom, 4*Headroom)} }}

// maxKept is the capacity in bytes of the largest buffer that a Message keeps for reuse.
const maxKept = 64 << 10

// NewMessage returns an empty Message from a pool.
func NewMessage() *Message { return messages.Get().(*Message) }

// TextMessage returns a shared Message with a copy of text.
func TextMessage(text string) *Message {
	m := NewMessage()
	defer m.Release()
	m.SetText(append(m.Buffer(), text...))
	return m.Share()
}

// Buffer returns the buffer to append the text to. It already holds Headroom bytes. SetText makes the appended
// bytes the text.
func (m *Message) Buffer() []byte { return m.data[:Headroom] }

// SetText sets the text of m to b, which was grown from Buffer by appending.
func (m *Message) SetText(b []byte) {
	m.data = b
	m.text, m.at, m.end = true, Headroom, len(b)
}

// Room returns free memory to which the argument of Prepend can be appended.
func (m *Message) Room() []byte { return m.data[: 0 : Headroom-frameRoom] }

// Prepend inserts head in front of the text. A long head moves the text to new memory; bytes returned earlier by
// Text do not change.
func (m *Message) Prepend(head []byte) {
	if at := m.at - len(head); at >= frameRoom {
		copy(m.data[at:], head)
		m.at = at
		return
	}
	text := m.data[m.at:m.end]
	m.data = make([]byte, Headroom, Headroom+len(head)+len(text))
	m.SetText(append(append(m.data, head...), text...))
}

// SetBinary sets the attachments. They are not copied and must not change until m is sent or shared.
func (m *Message) SetBinary(attachments ...[]byte) { m.binary = attachments }

// SetPacket sets the output of an encoder: the attachments and, if anything was appended to Buffer, the text.
func (m *Message) SetPacket(text []byte, attachments [][]byte) {
	if len(text) > Headroom {
		m.SetText(text)
	}
	m.binary = attachments
}

// Text returns the text without a packet type, and reports whether m has one. The bytes are valid until Release.
func (m *Message) Text() (text []byte, ok bool) { return m.data[m.at:m.end], m.text }

// Binary returns the attachments.
func (m *Message) Binary() [][]byte { return m.binary }

// Size returns the number of payload bytes in all parts.
func (m *Message) Size() int {
	n := m.end - m.at
	for _, b := range m.binary {
		n += len(b)
	}
	return n
}

// Shared reports whether m is immutable and may be retained.
func (m *Message) Shared() bool { return m.shared }

// Share returns an immutable Message with a copy of the content of m, or m itself if it is already immutable. m
// still belongs to its owner.
func (m *Message) Share() *Message {
	if m.shared {
		return m
	}
	size := 0
	for _, b := range m.binary {
		size += headerSize(len(b)) + len(b)
	}
	c := &Message{NoCompress: m.NoCompress, text: m.text, shared: true}
	text := m.data[m.frameText():]
	c.data = append(make([]byte, 0, len(text)+size), text...)
	if m.text {
		c.at, c.end = len(text)-(m.end-m.at), len(text)
	}
	if len(m.binary) > 0 {
		c.binary = make([][]byte, len(m.binary))
		for i, b := range m.binary {
			c.data = appendBinaryFrame(c.data, FormatV4, b)
			c.binary[i] = c.data[len(c.data)-len(b) : len(c.data) : len(c.data)]
		}
	}
	return c
}

// Reset empties an unshared Message for reuse. Bytes obtained from it must not be used afterwards.
func (m *Message) Reset() {
	if cap(m.data) > maxKept {
		m.data = make([]byte, Headroom)
	}
	m.data = m.data[:Headroom]
	m.text, m.at, m.end, m.binary, m.NoCompress = false, 0, 0, nil, false
}

// Release returns an unshared Message to the pool. Neither m nor bytes obtained from it may be used afterwards. It
// does nothing if m is shared.
func (m *Message) Release() {
	if !m.shared {
		m.Reset()
		messages.Put(m)
	}
}

// Frames returns the complete WebSocket frames of m, uncompressed. The bytes of a shared Message are immutable and
// may be retained. For other messages they are valid until the next call of Frames or Release.
//
// Engine.IO protocol v4, "WebSocket"; RFC 6455 section 5.2.
func (m *Message) Frames(f Format) []byte {
	if !m.shared {
		all := m.data
		start := m.frameText()
		for _, b := range m.binary {
			all = appendBinaryFrame(all, f, b)
		}
		m.data = all[:len(m.data)] // which may have grown
		return all[start:]
	}
	if f == FormatV4 || len(m.binary) == 0 { // a text looks the same in all of them
		return m.data
	}
	if p := m.frames[f].Load(); p != nil {
		return *p
	}
	frames := append([]byte(nil), m.data[:m.end]...)
	for _, b := range m.binary {
		frames = appendBinaryFrame(frames, f, b)
	}
	m.frames[f].Store(&frames)
	return frames
}

// Deflated returns Frames(f) as compressed by d. m must be shared. d is called once for each format, however many
// goroutines ask; the result is immutable and stays with m.
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

// frameText writes the packet type and the frame header in front of the text. It returns the index in data of the
// frame, or of its end if there is no text.
func (m *Message) frameText() int {
	if !m.text {
		return len(m.data)
	}
	n := m.end - m.at + 1
	start := m.at - 1 - headerSize(n)
	AppendHeader(m.data[:start], OpText, n)
	m.data[m.at-1] = byte(packet.Message)
	return start
}

func appendBinaryFrame(dst []byte, f Format, b []byte) []byte {
	p := packet.Packet{Type: packet.Message, Binary: true, Data: b}
	switch f {
	case FormatV3:
		dst = append(AppendHeader(dst, OpBinary, len(b)+1), byte(p.Type-packet.Open))
		return append(dst, b...)
	case FormatV4Base64:
		return packet.Append(AppendHeader(dst, OpText, 1+base64.StdEncoding.EncodedLen(len(b))), p)
	case FormatV3Base64:
		return packet.AppendV3(AppendHeader(dst, OpText, 2+base64.StdEncoding.EncodedLen(len(b))), p)
	}
	return append(AppendHeader(dst, OpBinary, len(b)), b...)
}
