package polling

import (
	"bytes"
	"strings"

	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/transport"
)

// response is the body of the response to a GET. It belongs to one goroutine, which releases it.
type response struct {
	body     *bytebufferpool.ByteBuffer
	binary   bool // a v3 binary payload
	compress bool // at least one packet requests it
}

var bodies bufpool.Pool

func (r response) release() { bodies.Put(r.body) }

// encode encodes items as one payload.
func (c *Conn) encode(items []Item) response {
	var few [4]packet.Packet
	packets := few[:0]
	compress := false
	for _, i := range items {
		if i.Message == nil {
			packets = append(packets, packet.Packet{Type: i.Type})
			compress = compress || i.Type != packet.Noop && i.Type != packet.Close
			continue
		}
		packets = appendMessage(packets, i.Message)
		compress = compress || !i.Message.NoCompress
	}
	return c.encodePackets(packets, compress)
}

// appendMessage appends the packets of m.
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

// script wraps the payload of r in a call of the callback, for a client that loads it as a script.
func (c *Conn) script(r response) response {
	s := bodies.Get()
	b := append(s.B[:0], "___eio["...)
	b = append(append(b, c.index...), "]("...)
	b = jsontext.AppendString(b, r.body.B)
	if bytes.Contains(b, []byte("\xe2\x80")) { // valid in JSON, but not in string literals of older JavaScript
		b = bytes.ReplaceAll(b, []byte("\u2028"), []byte(`\u2028`))
		b = bytes.ReplaceAll(b, []byte("\u2029"), []byte(`\u2029`))
	}
	s.B = append(b, ");"...)
	r.release()
	r.body = s
	return r
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
