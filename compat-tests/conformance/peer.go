package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"
)

// Opcodes, RFC 6455 section 5.2.
const (
	continuation = 0x0
	text         = 0x1
	binaryData   = 0x2
	closing      = 0x8
	ping         = 0x9
	pong         = 0xA
)

const (
	fin  = 0x80
	rsv1 = 0x40
)

// patience is the time that a server may take for one frame. Tests of failing cases use less.
var patience = 30 * time.Second

// peer is a WebSocket client that sends anything, valid or not. If the server does not behave as expected, a method
// panics with a failure.
type peer struct {
	conn    net.Conn
	r       *bufio.Reader
	deflate *deflate // nil without permessage-deflate
}

// failure describes a fault of the server.
type failure string

func fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

func (p *peer) check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

// newPeer performs a handshake on conn. offer is the value of Sec-WebSocket-Extensions, or empty.
func newPeer(conn net.Conn, offer string) *peer {
	p := &peer{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	request := "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\n"
	if offer != "" {
		request += "Sec-WebSocket-Extensions: " + offer + "\r\n"
	}
	p.write([]byte(request + "\r\n"))
	answer, err := http.ReadResponse(p.r, nil)
	p.check(err)
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	accept := answer.Header.Get("Sec-WebSocket-Accept")
	if answer.StatusCode != http.StatusSwitchingProtocols || accept != base64.StdEncoding.EncodeToString(sum[:]) {
		fail("handshake answered with status %d, accept %q", answer.StatusCode, accept)
	}
	p.deflate = negotiated(offer, answer.Header.Values("Sec-WebSocket-Extensions"))
	return p
}

// frame returns a masked frame. first is its first byte: opcode, and fin and reserved bits.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x37, 0xFA, 0x21, byte(len(payload))}
	b = append(b, mask[:]...)
	start := len(b)
	b = append(b, payload...)
	for i := range payload {
		b[start+i] ^= mask[i&3]
	}
	return b
}

func whole(op byte, payload string) []byte { return frame(fin|op, []byte(payload)) }

// fragments returns the frames of a message in fragments of size bytes. bits are set in the first.
func fragments(first byte, payload []byte, size int) (frames [][]byte) {
	pieces := slices.Collect(slices.Chunk(payload, size))
	for i, piece := range pieces {
		b := first
		if i > 0 {
			b = continuation
		}
		if i == len(pieces)-1 {
			b |= fin
		}
		frames = append(frames, frame(b, piece))
	}
	return frames
}

// closeFrame returns a close frame.
func closeFrame(code uint16, reason string) []byte {
	return frame(fin|closing, append(binary.BigEndian.AppendUint16(nil, code), reason...))
}

// write writes b. If the server has closed the connection, the next read reports it.
func (p *peer) write(b []byte) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.conn.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		fail("the server does not read")
	}
}

// send writes frames in one piece.
func (p *peer) send(frames ...[]byte) { p.write(bytes.Join(frames, nil)) }

// sendEach writes each frame by itself.
func (p *peer) sendEach(frames ...[]byte) {
	for _, f := range frames {
		p.write(f)
	}
}

// sendChopped writes frames in pieces of size bytes.
func (p *peer) sendChopped(size int, frames ...[]byte) {
	for piece := range slices.Chunk(bytes.Join(frames, nil), size) {
		p.write(piece)
	}
}

// event is something that a server does.
type event struct {
	kind    string // text, binary, ping, pong, close, end or reset
	payload []byte
}

func (e event) String() string {
	switch {
	case e.kind == "end" || e.kind == "reset":
		return e.kind
	case e.kind == "close" && len(e.payload) >= 2:
		return fmt.Sprintf("close %d %q", binary.BigEndian.Uint16(e.payload), e.payload[2:])
	case len(e.payload) > 64:
		return fmt.Sprintf("%s of %d bytes", e.kind, len(e.payload))
	}
	return fmt.Sprintf("%s %q", e.kind, e.payload)
}

// code returns the code of a close frame, or 0 if there is none.
func (e event) code() uint16 {
	if len(e.payload) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(e.payload)
}

// next reads a message or control frame, or the end of the connection. It judges how frames are made.
func (p *peer) next() event {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	var message []byte
	var op byte
	compressed := false
	for {
		first, payload, err := p.readFrame()
		if err != nil {
			return ending(err)
		}
		bits, code := first&0x70, first&0x0F
		if code >= closing {
			if first&fin == 0 || bits != 0 || len(payload) > 125 {
				fail("control frame with first byte %#x and %d bytes", first, len(payload))
			}
			kind, ok := map[byte]string{closing: "close", ping: "ping", pong: "pong"}[code]
			if !ok {
				fail("opcode %d", code)
			}
			return event{kind, payload}
		}
		switch {
		case code == continuation && op != 0 && bits == 0:
		case (code == text || code == binaryData) && op == 0 && (bits == 0 || bits == rsv1 && p.deflate != nil):
			op, compressed = code, bits == rsv1
		default:
			fail("frame with first byte %#x (a message is incomplete: %v)", first, op != 0)
		}
		message = append(message, payload...)
		if first&fin == 0 {
			continue
		}
		if compressed {
			if message, err = p.deflate.inflate(message); err != nil {
				fail("%v", err)
			}
		}
		return event{map[byte]string{text: "text", binaryData: "binary"}[op], message}
	}
}

// readFrame reads one frame.
func (p *peer) readFrame() (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, nil, err
	}
	if head[1]&0x80 != 0 {
		fail("a frame is masked")
	}
	length := uint64(head[1])
	if length > 125 {
		minimum := map[uint64]uint64{126: 126, 127: 1 << 16}[length]
		extended := make([]byte, map[uint64]int{126: 2, 127: 8}[length])
		if _, err := io.ReadFull(p.r, extended); err != nil {
			return 0, nil, err
		}
		length = 0
		for _, b := range extended {
			length = length<<8 | uint64(b)
		}
		if length < minimum {
			fail("length %d is not in its shortest form", length)
		}
	}
	if length > 1<<30 {
		fail("frame of %d bytes", length)
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(p.r, payload)
	return head[0], payload, err
}

// ending describes how the connection ended.
func ending(err error) event {
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return event{kind: "end"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		fail("the server is silent")
	}
	return event{kind: "reset"}
}

// quiet reports whether the server does nothing for a while.
func (p *peer) quiet(d time.Duration) bool {
	_ = p.conn.SetReadDeadline(time.Now().Add(d))
	_, err := p.r.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// expect reads a message or pong with this payload.
func (p *peer) expect(kind, payload string) {
	if e := p.next(); e.kind != kind || string(e.payload) != payload {
		fail("%v, want %v", e, event{kind, []byte(payload)})
	}
}

// ends reads the end of the TCP connection.
func (p *peer) ends() {
	if e := p.next(); e.kind != "end" && e.kind != "reset" {
		fail("%v after the close frame", e)
	}
}

// closed reads a close frame with one of codes, 0 being a frame without one, and then the end.
func (p *peer) closed(codes ...uint16) {
	if e := p.next(); e.kind != "close" || !slices.Contains(codes, e.code()) {
		fail("%v, want close %v", e, codes)
	}
	p.ends()
}

// leave closes the connection as clients do.
func (p *peer) leave() {
	p.send(closeFrame(1000, ""))
	p.closed(1000)
}
