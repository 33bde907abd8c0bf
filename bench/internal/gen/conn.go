//go:build linux

package gen

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// Kind is how a client connects.
type Kind byte

const (
	WebSocket Kind = iota // WebSocket at once
	Polling               // long-polling, for good
	Upgraded              // long-polling first, then WebSocket
)

// ParseKind returns the kind of this name.
func ParseKind(s string) (Kind, error) {
	for k, name := range []string{"websocket", "polling", "upgraded"} {
		if s == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("gen: unknown kind of client %q", s)
}

// state is where a connection is.
//
//	connecting ─► upgrading ─► opening ─► joining ─► open       WebSocket
//	connecting ─► greeting ─► posting ─► polling                long-polling
//	connecting ─► upgrading ─► probing ─► open                  the second connection of an upgrade
type state byte

const (
	connecting state = iota // TCP
	upgrading               // the WebSocket handshake is sent
	opening                 // waiting for the open packet
	joining                 // CONNECT is sent
	probing                 // "2probe" is sent
	open

	greeting // the first GET is sent
	posting  // a POST is sent
	polling  // a GET is sent
	closed
)

// Conn is a client, or for a client that is upgrading one of its two connections.
type Conn struct {
	Index int // of the client, from 0
	Pings int // heartbeats that were answered

	loop    *Loop
	fd      int
	kind    Kind
	state   state
	joined  bool  // the client has joined; for long-polling
	stalled bool  // not read any more
	peer    *Conn // the other connection of an upgrade
	sid     []byte
	in, out []byte
	window  []byte // the end of the inflated data
}

// Write sends frames; they may be changed afterwards.
func (c *Conn) Write(b []byte) {
	if len(c.out) > 0 {
		c.out = append(c.out, b...)
		return
	}
	n, errno := write(c.fd, b)
	if errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR {
		c.fail(os.NewSyscallError("write", errno))
		return
	}
	if n = max(n, 0); n < len(b) {
		c.out = append(c.out, b[n:]...)
		c.watch(syscall.EPOLLIN | syscall.EPOLLOUT)
	}
}

// Stall stops reading from the connection for good.
func (c *Conn) Stall() {
	c.stalled = true
	if err := c.loop.control(syscall.EPOLL_CTL_DEL, c.fd, 0); err != nil {
		c.fail(err)
	}
}

// Stalled reports whether Stall was called.
func (c *Conn) Stalled() bool { return c.stalled }

func (c *Conn) watch(events uint32) {
	if err := c.loop.control(syscall.EPOLL_CTL_MOD, c.fd, events); err != nil {
		c.fail(err)
	}
}

// fail ends the run.
func (c *Conn) fail(err error) { c.loop.Fail(fmt.Errorf("client %d: %w", c.Index, err)) }

// ready handles an event of epoll.
func (c *Conn) ready(events uint32) {
	if c.state == connecting {
		if value, err := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err != nil || value != 0 {
			c.fail(os.NewSyscallError("connect", syscall.Errno(value)))
			return
		}
		c.watch(syscall.EPOLLIN)
		c.begin()
		return
	}
	if events&syscall.EPOLLOUT != 0 && len(c.out) > 0 {
		n, errno := write(c.fd, c.out)
		if errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR {
			c.fail(os.NewSyscallError("write", errno))
			return
		}
		if c.out = c.out[max(n, 0):]; len(c.out) == 0 {
			c.out = nil
			c.watch(syscall.EPOLLIN)
		}
	}
	if events&^syscall.EPOLLOUT != 0 && !c.stalled {
		c.read()
	}
}

var errClosed = errors.New("gen: the server has closed the connection")

func (c *Conn) read() {
	n, errno := read(c.fd, c.loop.buf)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return
	case errno != 0:
		c.fail(os.NewSyscallError("read", errno))
		return
	case n == 0:
		c.fail(errClosed)
		return
	}
	data := c.loop.buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	rest, err := c.take(data)
	switch {
	case err != nil:
		c.fail(err)
	case len(rest) == 0:
		c.in = nil
	default:
		c.in = append(c.in[:0], rest...)
	}
}

// begin sends the first request.
func (c *Conn) begin() {
	l := c.loop
	switch {
	case c.kind == WebSocket:
		c.state = upgrading
		c.Write(l.handshake)
	case c.peer == nil:
		c.state = greeting
		c.request("GET", "", "")
	default: // the second connection of an upgrade
		c.state = upgrading
		c.Write(bytes.Replace(l.handshake, []byte("transport=websocket"), append([]byte("transport=websocket&sid="), c.sid...), 1))
	}
}

// take handles the complete frames or responses in data and returns the rest.
func (c *Conn) take(data []byte) (rest []byte, err error) {
	for len(data) > 0 && c.state != closed {
		size := 0
		switch c.state {
		case upgrading:
			size, err = c.takeUpgrade(data)
		case greeting, posting, polling:
			size, err = c.takeResponse(data)
		default:
			size, err = c.takeFrame(data)
		}
		if err != nil {
			return nil, err
		}
		if size == 0 {
			return data, nil
		}
		data = data[size:]
	}
	return nil, nil
}

// takeUpgrade handles the response to the WebSocket handshake.
func (c *Conn) takeUpgrade(data []byte) (size int, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, nil
	}
	head := data[:end+2]
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || !bytes.Contains(head, []byte(": "+accept+"\r\n")) {
		return 0, fmt.Errorf("answer to the handshake: %.200q", head)
	}
	if c.loop.inflater != nil && !bytes.Contains(head, []byte("permessage-deflate")) {
		return 0, fmt.Errorf("permessage-deflate was not accepted: %.400q", head)
	}
	if c.peer != nil {
		c.state = probing
		c.Write(AppendFrame(nil, []byte("2probe"), false))
	} else {
		c.state = opening
	}
	return end + 4, nil
}

// takeFrame handles a frame. The server must not fragment messages; no Socket.IO server does.
func (c *Conn) takeFrame(data []byte) (size int, err error) {
	if len(data) < 2 {
		return 0, nil
	}
	head, size := 2, int(data[1])
	switch size {
	case 126:
		if len(data) < 4 {
			return 0, nil
		}
		head, size = 4, int(binary.BigEndian.Uint16(data[2:]))
	case 127:
		if len(data) < 10 {
			return 0, nil
		}
		head, size = 10, int(binary.BigEndian.Uint64(data[2:]))
	}
	if size < 0 || size > maxMessage {
		return 0, fmt.Errorf("frame of %d bytes", size)
	}
	if len(data) < head+size {
		return 0, nil
	}
	payload := data[head : head+size]
	switch data[0] {
	case 0x81:
		err = c.packet(payload, false)
	case 0x82:
		err = c.packet(payload, true)
	case 0xC1, 0xC2:
		if payload, err = c.inflate(payload); err == nil {
			err = c.packet(payload, data[0] == 0xC2)
		}
	default:
		err = fmt.Errorf("unexpected frame % x", data[:min(len(data), 8)])
	}
	return head + size, err
}

// maxWindow is how far back a compressed message may refer, in bytes.
const maxWindow = 32 << 10

// inflate returns the contents of a compressed message, RFC 7692 section 7.2.2.
func (c *Conn) inflate(payload []byte) ([]byte, error) {
	if c.loop.inflater == nil {
		return nil, errors.New("compressed message without permessage-deflate")
	}
	// The end is the part that the sender omitted, and a final, empty block.
	from := io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	if err := c.loop.inflater.(flate.Resetter).Reset(from, c.window); err != nil {
		return nil, err
	}
	m, err := io.ReadAll(io.LimitReader(c.loop.inflater, maxMessage))
	c.window = append(c.window, m...)
	c.window = bytes.Clone(c.window[max(0, len(c.window)-maxWindow):])
	return m, err
}

// packet handles an Engine.IO packet over WebSocket.
func (c *Conn) packet(p []byte, isBinary bool) error {
	l := c.loop
	if (c.state == open || c.state == joining) && !isBinary && len(p) == 1 && p[0] == '2' {
		c.Pings++
		l.Pings++
		c.Write(pong)
		return nil
	}
	switch c.state {
	case open:
		return l.handler.Message(c, p, isBinary)
	case opening:
		if isBinary || !bytes.HasPrefix(p, []byte(`0{"sid":"`)) {
			return fmt.Errorf("open packet: %.200q", p)
		}
		c.state = joining
		c.Write(l.join)
	case joining:
		if isBinary != l.binary || !bytes.Contains(p, []byte("sid")) || !isBinary && !bytes.HasPrefix(p, []byte(`40{"sid":"`)) {
			return fmt.Errorf("answer to CONNECT: %.200q", p)
		}
		c.state = open
		l.opened(c)
	case probing:
		if string(p) != "3probe" {
			return fmt.Errorf("answer to the probe: %.200q", p)
		}
		c.state = joining // until the polling transport has ended
		c.finishUpgrade()
	}
	return nil
}

// finishUpgrade ends long-polling once the probe is answered and no poll is pending.
func (c *Conn) finishUpgrade() {
	if p := c.peer; c.state == joining && p.state == closed {
		c.state = open
		c.peer = nil
		c.Write(AppendFrame(nil, []byte("5"), false))
		c.loop.opened(c)
	}
}

// request sends an HTTP request of long-polling.
func (c *Conn) request(method, sid, body string) {
	b := append(c.loop.scratch[:0], method...)
	b = append(b, " /socket.io/?EIO=4&transport=polling"...)
	if sid != "" {
		b = append(append(b, "&sid="...), sid...)
	}
	b = append(append(b, " HTTP/1.1\r\nHost: "...), c.loop.host...)
	b = append(b, "\r\nUser-Agent: node-XMLHttpRequest\r\nAccept: */*\r\nConnection: keep-alive\r\n"...)
	if method == "POST" {
		b = append(b, "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	}
	b = append(append(b, "\r\n"...), body...)
	c.loop.scratch = b
	c.Write(b)
}

// takeResponse handles an HTTP response.
func (c *Conn) takeResponse(data []byte) (size int, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, nil
	}
	head := data[:end+2]
	const field = "\r\nContent-Length: "
	i := bytes.Index(head, []byte(field))
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) || i < 0 {
		return 0, fmt.Errorf("response: %.200q", head)
	}
	digits := head[i+len(field):]
	n, err := strconv.Atoi(string(digits[:bytes.IndexByte(digits, '\r')]))
	if err != nil || n < 0 || n > maxMessage {
		return 0, fmt.Errorf("response: %.200q", head)
	}
	if size = end + 4 + n; len(data) < size {
		return 0, nil
	}
	return size, c.response(data[end+4 : size])
}

// response handles the body of a response.
func (c *Conn) response(body []byte) error {
	switch c.state {
	case greeting:
		const prefix = `0{"sid":"`
		end := -1
		if bytes.HasPrefix(body, []byte(prefix)) {
			end = bytes.IndexByte(body[len(prefix):], '"')
		}
		if end < 0 {
			return fmt.Errorf("open packet: %.200q", body)
		}
		c.sid = bytes.Clone(body[len(prefix) : len(prefix)+end])
		c.state = posting
		c.request("POST", string(c.sid), "40")
	case posting:
		if string(body) != "ok" {
			return fmt.Errorf("answer to a POST: %.200q", body)
		}
		c.state = polling
		c.request("GET", string(c.sid), "")
	case polling:
		return c.polled(body)
	}
	return nil
}

// polled handles the body of the response to a poll.
func (c *Conn) polled(body []byte) error {
	answer := ""
	for p := range bytes.SplitSeq(body, []byte{0x1E}) {
		switch {
		case !c.joined && bytes.HasPrefix(p, []byte(`40{"sid":"`)):
			c.joined = true
			if c.kind == Upgraded {
				if err := c.loop.probe(c); err != nil {
					return err
				}
			} else {
				c.loop.opened(c)
			}
		case string(p) == "2":
			c.Pings++
			c.loop.Pings++
			answer = "3"
		case string(p) == "6" && c.peer != nil:
			peer := c.peer
			c.close()
			peer.finishUpgrade()
			return nil
		case c.joined && len(p) > 0 && p[0] == '4':
			if err := c.loop.handler.Message(c, p, false); err != nil {
				return err
			}
		default:
			return fmt.Errorf("polled: %.200q", p)
		}
	}
	if answer != "" {
		c.state = posting
		c.request("POST", string(c.sid), answer)
	} else {
		c.request("GET", string(c.sid), "")
	}
	return nil
}

// Leave closes the connection without a word. Nothing may be done with it then. It is for an Opener.
func (c *Conn) Leave() {
	c.close()
	c.loop.dialNext()
}

// close closes the connection without a word.
func (c *Conn) close() {
	c.state = closed
	c.loop.conns[c.fd] = nil
	_ = syscall.Close(c.fd) // nothing is left to be written
}

// The loop never blocks in read and write, so they need not tell the scheduler.

func read(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errno
}

func write(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errno
}
