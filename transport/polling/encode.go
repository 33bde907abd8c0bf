package polling

import (
	"strings"
	"unicode/utf8"

	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/transport"
)

// response is the body of an answer to a GET. It belongs to one goroutine, which releases it.
type response struct {
	body     *bytebufferpool.ByteBuffer
	binary   bool // a v3 binary payload
	compress bool // at least one packet asks for it
}

var bodies bufpool.Pool

func (r response) release() { bodies.Put(r.body) }

// encode makes one payload of items.
func (c *Conn) encode(items []item) response {
	var few [4]packet.Packet
	packets := few[:0]
	compress := false
	for _, i := range items {
		if i.message == nil {
			packets = append(packets, packet.Packet{Type: i.kind})
			compress = compress || i.kind != packet.Noop && i.kind != packet.Close
			continue
		}
		packets = appendMessage(packets, i.message)
		compress = compress || !i.message.NoCompress
	}
	return c.encodePackets(packets, compress)
}

// appendMessage appends the packets that m consists of.
func appendMessage(packets []packet.Packet, m *transport.Message) []packet.Packet {
	if text, ok := m.Text(); ok {
		packets = append(packets, packet.Packet{Type: packet.Message, Data: text})
	}
	for _, b := range m.Binary() {
		packets = append(packets, packet.Packet{Type: packet.Message, Binary: true, Data: b})
	}
	return packets
}

func (c *Conn) encodePackets(packets []packet.Packet, compress bool) response {
	r := response{body: bodies.Get(), compress: compress}
	b := r.body.B[:0]
	switch {
	case !c.v3:
		for _, p := range packets {
			b = packet.AppendNext(b, 0, p)
		}
	case !c.base64 && hasBinary(packets):
		r.binary = true
		for _, p := range packets {
			b = packet.AppendBinaryV3(b, p)
		}
	default:
		for _, p := range packets {
			b = packet.AppendStringV3(b, p)
		}
	}
	r.body.B = b
	if c.jsonp {
		r = c.script(r)
	}
	return r
}

func hasBinary(packets []packet.Packet) bool {
	for _, p := range packets {
		if p.Binary {
			return true
		}
	}
	return false
}

// script makes the payload of r the argument of a call, for a client that loads it as a script.
func (c *Conn) script(r response) response {
	s := bodies.Get()
	b := append(s.B[:0], "___eio["...)
	b = append(append(b, c.index...), "]("...)
	b = appendString(b, r.body.B)
	s.B = append(b, ");"...)
	r.release()
	r.body = s
	return r
}

// appendString appends text as a string literal that is valid both in JSON and in every version of
// JavaScript, in which U+2028 and U+2029 once ended a line.
func appendString(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			if r == '\u2028' || r == '\u2029' {
				dst = append(dst, '\\', 'u', '2', '0', '2', hex[r&0xF])
			} else {
				dst = append(dst, text[i:i+size]...)
			}
			i += size
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		default:
			if n := strings.IndexByte("\b\t\n\f\r", c); n >= 0 {
				dst = append(dst, '\\', "btnfr"[n])
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
			}
		}
	}
	return append(dst, '"')
}

// digits returns the ASCII digits of s.
func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}
