package epoll

import (
	"encoding/binary"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/transport"
)

// maxFragments is the maximum number of frames in one message.
const maxFragments = 16384

// incoming holds the received part of an incomplete message, control frame or header. A Conn between two messages
// has none.
type incoming struct {
	early []byte // bytes read with the handshake and not parsed yet

	head    [maxHead]byte // start of an incomplete header
	headLen int

	inside bool   // whether a payload is incomplete
	frame  header // the frame of that payload
	taken  int64  // payload bytes that have arrived

	op         transport.Op // of the incomplete message, 0 if there is none
	compressed bool         // whether the message is
	fragments  int
	size       int64 // payload bytes announced by the frames of the message so far
	message    *bytebufferpool.ByteBuffer
	control    []byte // payload of the incomplete control frame
}

var (
	incomings sync.Pool
	messages  bufpool.Pool
)

// incomplete returns c.in and creates it if necessary.
func (c *Conn) incomplete() *incoming {
	if c.in == nil {
		in, _ := incomings.Get().(*incoming)
		if in == nil {
			in = new(incoming)
		}
		c.in = in
	}
	return c.in
}

// settleInput drops c.in if nothing is incomplete, or unconditionally if all is set.
func (c *Conn) settleInput(all bool) {
	if all && c.deflate != nil {
		c.deflate.received = nil
	}
	in := c.in
	if in == nil || !all && (in.early != nil || in.headLen > 0 || in.inside || in.op != 0) {
		return
	}
	c.in = nil
	if in.message != nil {
		messages.Put(in.message)
	}
	*in = incoming{control: in.control[:0]}
	incomings.Put(in)
}

// lacking returns the number of payload bytes missing after b, which has been read but not fed. If no payload is
// incomplete, it considers only the frame at the start of b.
func (c *Conn) lacking(b []byte) int {
	if in := c.in; in != nil {
		if !in.inside {
			return 0
		}
		return int(in.frame.length-in.taken) - len(b)
	}
	h, n, err := parseHeader(b, false, c.deflate != nil, c.options().MaxMessageBytes)
	if err != nil || n == 0 {
		return 0
	}
	return n + int(h.length) - len(b)
}

// feedEarly feeds the bytes read with the handshake.
func (c *Conn) feedEarly() (run bool) {
	if c.in == nil || c.in.early == nil {
		return false
	}
	early := c.in.early
	c.in.early = nil
	c.settleInput(false)
	return c.feed(early)
}

// feed processes the next bytes from the peer, which it overwrites, and delivers completed messages to the handler.
// run reports whether the handler requested Run.
//
// Only the goroutine that reads the connection calls it.
func (c *Conn) feed(b []byte) (run bool) {
	for len(b) > 0 {
		if c.state.Load()&deaf != 0 {
			return run
		}
		if in := c.in; in != nil && in.inside {
			n := int(min(in.frame.length-in.taken, int64(len(b))))
			c.take(in, b[:n])
			b = b[n:]
			if in.taken < in.frame.length {
				return run
			}
			in.inside = false
			if in.frame.op.Control() {
				c.handleControl(in.frame.op, in.control)
				in.control = in.control[:0]
			} else if in.frame.fin {
				run = c.deliverAssembled(in) || run
			}
			c.settleInput(false)
			continue
		}

		h, n, err := c.readHeader(b)
		if err != nil {
			c.fail(err)
			return run
		}
		if n == 0 {
			return run
		}
		b = b[n:]
		var payload []byte
		complete := h.length <= int64(len(b))
		if complete {
			payload, b = b[:h.length], b[h.length:]
			ws.Cipher(payload, h.mask, 0)
			if h.op.Control() {
				c.handleControl(h.op, payload)
				c.settleInput(false)
				continue
			}
			if h.fin && h.op != transport.OpContinuation {
				run = c.deliver(h.op, payload, h.compressed) || run
				c.settleInput(false)
				continue
			}
		}

		// The payload must be kept: it belongs to a fragmented message, or is incomplete.
		in := c.incomplete()
		if !h.op.Control() {
			if h.op != transport.OpContinuation {
				in.op, in.compressed, in.fragments, in.size = h.op, h.compressed, 0, 0
			}
			in.size += h.length
			if in.fragments++; in.fragments > maxFragments {
				c.fail(errTooFragmented)
				return run
			}
		}
		if !complete {
			in.frame, in.taken, in.inside = h, 0, true
			c.take(in, b)
			return run
		}
		c.assemble(in, payload)
		if h.fin {
			run = c.deliverAssembled(in) || run
			c.settleInput(false)
		}
	}
	return run
}

// readHeader parses the header at the start of b, or the rest of a header whose first part was kept. n is the
// number of its bytes in b, or 0 if the header is still incomplete; all of b has then been kept.
func (c *Conn) readHeader(b []byte) (h header, n int, err *transport.ProtocolError) {
	limit := c.options().MaxMessageBytes
	in := c.in
	if in == nil {
		if h, n, err = parseHeader(b, false, c.deflate != nil, limit); n == 0 && err == nil {
			in = c.incomplete()
			in.headLen = copy(in.head[:], b)
		}
		return h, n, err
	}
	if in.op != 0 {
		limit -= in.size
	}
	kept := in.headLen
	head := in.head[:kept+copy(in.head[kept:], b)]
	if h, n, err = parseHeader(head, in.op != 0, c.deflate != nil, limit); n == 0 {
		in.headLen = len(head)
		return h, 0, err
	}
	in.headLen = 0
	return h, n - kept, nil
}

// take stores the next bytes b of the payload of in.frame.
func (c *Conn) take(in *incoming, b []byte) {
	ws.Cipher(b, in.frame.mask, int(in.taken&3))
	in.taken += int64(len(b))
	if in.frame.op.Control() {
		in.control = append(in.control, b...)
	} else {
		c.assemble(in, b)
	}
}

// assemble appends b to the incomplete message. After Close it drops b, because the message would not be delivered.
func (c *Conn) assemble(in *incoming, b []byte) {
	if c.state.Load()&closing != 0 {
		return
	}
	if in.message == nil {
		in.message = messages.Get()
	}
	in.message.B = append(in.message.B, b...)
}

func (c *Conn) deliverAssembled(in *incoming) (run bool) {
	op := in.op
	in.op = 0
	var data []byte
	if in.message != nil {
		data = in.message.B
	}
	run = c.deliver(op, data, in.compressed)
	if in.message != nil {
		messages.Put(in.message)
		in.message = nil
	}
	return run
}

// deliver delivers a complete message to the handler.
func (c *Conn) deliver(op transport.Op, data []byte, compressed bool) (run bool) {
	if c.state.Load()&closing != 0 {
		return false
	}
	if compressed {
		inflated := messages.Get()
		defer messages.Put(inflated)
		if err := c.deflate.inflate(inflated, data, c.options().MaxMessageBytes); err != nil {
			c.fail(err)
			return false
		}
		data = inflated.B
	}
	if op == transport.OpText && !utf8.Valid(data) {
		c.fail(errText)
		return false
	}
	return c.handler.HandleMessage(c, data, op == transport.OpBinary)
}

// handleControl answers a control frame, RFC 6455 section 5.5.
func (c *Conn) handleControl(op transport.Op, payload []byte) {
	switch op {
	case transport.OpPing:
		c.sendPong(payload)
	case transport.OpClose:
		if err := checkClose(payload); err != nil {
			c.fail(err)
			return
		}
		c.peerClosed(payload)
	}
}

// checkClose checks the payload of a close frame.
//
// RFC 6455 sections 5.5.1 and 7.4.
func checkClose(payload []byte) *transport.ProtocolError {
	switch {
	case len(payload) == 0:
		return nil
	case len(payload) == 1 || !validCloseCode(int(binary.BigEndian.Uint16(payload))):
		return errCloseCode
	case !utf8.Valid(payload[2:]):
		return errCloseReason
	}
	return nil
}
