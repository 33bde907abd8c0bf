//go:build linux

package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	backlog    = 4096
	maxEvents  = 256
	readBuffer = 128 << 10 // bytes
)

// conn is a connection. Incomplete input is kept. An idle connection has no buffer.
type conn struct {
	fd       int
	upgraded bool
	in, out  []byte
}

// ping is the time of a connection's next ping.
type ping struct {
	to *conn
	at time.Time
}

// loop is an epoll loop. If there are several, each has its own rooms and its own listener, and the kernel spreads
// connections among them.
type loop struct {
	addr     string
	epfd     int
	listener int
	conns    []*conn // by descriptor
	open     []*conn // joined connections, in no order; the last one takes the place of one that closes
	rooms    map[string][]*conn
	buf      []byte
	frame    []byte // the frame being written
	last     uint64 // the last id
	hits     int64
	interval time.Duration // of pings; zero means none
	pings    []ping        // the next one first
}

func newLoop(addr string, interval time.Duration) (*loop, error) {
	at, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, option, 1); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	sa := &syscall.SockaddrInet4{Port: at.Port}
	copy(sa.Addr[:], at.IP.To4())
	if err := syscall.Bind(fd, sa); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if err := syscall.Listen(fd, backlog); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	bound := name.(*syscall.SockaddrInet4)
	l := &loop{
		addr:     netip.AddrPortFrom(netip.AddrFrom4(bound.Addr), uint16(bound.Port)).String(),
		listener: fd,
		rooms:    make(map[string][]*conn),
		buf:      make([]byte, readBuffer),
		interval: interval,
	}
	if l.epfd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return l, l.watch(syscall.EPOLL_CTL_ADD, fd, syscall.EPOLLIN)
}

func (l *loop) watch(op, fd int, events uint32) error {
	err := syscall.EpollCtl(l.epfd, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}

func (l *loop) run() error {
	events := make([]syscall.EpollEvent, maxEvents)
	for {
		n, err := syscall.EpollWait(l.epfd, events, l.ping())
		if err != nil && err != syscall.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		for i := range max(n, 0) {
			fd := int(events[i].Fd)
			if fd == l.listener {
				if err := l.accept(); err != nil {
					return err
				}
				continue
			}
			c := l.conns[fd]
			if c == nil {
				continue
			}
			if events[i].Events&syscall.EPOLLOUT != 0 {
				l.flush(c)
			}
			if events[i].Events&^syscall.EPOLLOUT != 0 {
				l.read(c)
			}
		}
	}
}

// ping sends the pings that are due and returns the time until the next one, in milliseconds.
func (l *loop) ping() int {
	if len(l.pings) == 0 {
		return -1
	}
	now := time.Now()
	for len(l.pings) > 0 {
		if wait := l.pings[0].at.Sub(now); wait > 0 {
			return int((wait + time.Millisecond - 1) / time.Millisecond)
		}
		l.write(l.pings[0].to, []byte{0x81, 1, '2'})
		l.pings = l.pings[1:]
	}
	return -1
}

func (l *loop) expect(c *conn) {
	if l.interval > 0 {
		l.pings = append(l.pings, ping{c, time.Now().Add(l.interval)})
	}
}

func (l *loop) accept() error {
	for {
		fd, _, err := syscall.Accept4(l.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		switch err {
		case nil:
		case syscall.EAGAIN:
			return nil
		case syscall.EINTR, syscall.ECONNABORTED:
			continue
		default:
			return os.NewSyscallError("accept4", err)
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // slower without, not wrong
		for fd >= len(l.conns) {
			l.conns = append(l.conns, nil)
		}
		l.conns[fd] = &conn{fd: fd}
		if err := l.watch(syscall.EPOLL_CTL_ADD, fd, syscall.EPOLLIN); err != nil {
			return err
		}
	}
}

func (l *loop) read(c *conn) {
	n, err := syscall.Read(c.fd, l.buf)
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return
	}
	if n <= 0 || err != nil {
		l.close(c)
		return
	}
	data := l.buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	rest, ok := l.take(c, data)
	if !ok {
		l.close(c)
		return
	}
	if len(rest) == 0 {
		c.in = nil
	} else {
		c.in = append(c.in[:0], rest...)
	}
}

// take handles the complete frames in data and returns the rest.
func (l *loop) take(c *conn, data []byte) (rest []byte, ok bool) {
	if !c.upgraded {
		end := bytes.Index(data, []byte("\r\n\r\n"))
		if end < 0 {
			return data, true
		}
		if !l.upgrade(c, data[:end+4]) {
			return nil, false
		}
		data = data[end+4:]
	}
	for {
		if len(data) < 6 {
			return data, true
		}
		head, size := 2, int(data[1]&0x7F)
		switch size {
		case 126:
			head, size = 4, int(binary.BigEndian.Uint16(data[2:]))
		case 127:
			if len(data) < 10 {
				return data, true
			}
			head, size = 10, int(binary.BigEndian.Uint64(data[2:]))
		}
		if len(data) < head+4+size {
			return data, true
		}
		payload := data[head+4 : head+4+size]
		unmask(payload, [4]byte(data[head:]))
		switch data[0] & 0x0F {
		case 1:
			l.message(c, payload)
		case 8:
			return nil, false
		}
		data = data[head+4+size:]
	}
}

func unmask(b []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// upgrade answers the WebSocket handshake and sends the open packet.
func (l *loop) upgrade(c *conn, request []byte) bool {
	const name = "\r\nSec-WebSocket-Key: "
	i := bytes.Index(request, []byte(name))
	if i < 0 {
		return false
	}
	key := request[i+len(name):]
	key = key[:bytes.IndexByte(key, '\r')]
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	b := append(l.frame[:0], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	b = append(b, "\r\n\r\n"...)
	open := fmt.Sprintf(`0{"sid":"%s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`, l.id())
	b = appendHeader(b, len(open))
	l.frame = append(b, open...)
	c.upgraded = true
	l.write(c, l.frame)
	l.expect(c)
	return true
}

func (l *loop) id() string {
	l.last++
	return fmt.Sprintf("floor%015x", l.last)
}

// message sends the canned answer to a message.
func (l *loop) message(c *conn, m []byte) {
	if string(m) == "3" {
		l.expect(c)
	}
	if len(m) < 2 || m[0] != '4' {
		return
	}
	if m[1] == '0' {
		l.open = append(l.open, c)
		l.send(c, `40{"sid":"`, []byte(l.id()), `"}`)
		return
	}
	start := bytes.IndexByte(m, '[')
	if start < 2 {
		return
	}
	id, event := m[2:start], m[start+2:]
	name, arg := event, []byte(nil)
	if i := bytes.IndexByte(event, '"'); i >= 0 {
		name = event[:i]
		if arg = event[i+1:]; arg[0] == ',' {
			arg = arg[1:]
		}
		arg = arg[:len(arg)-1] // the bracket at the end
	}
	switch string(name) {
	case "echo", "greet":
		if len(id) > 0 {
			l.ack(c, id, arg)
		}
	case "bcast":
		l.broadcast(l.open, arg)
	case "hit":
		l.hits++
	case "hits":
		l.ack(c, id, strconv.AppendInt(nil, l.hits, 10))
	case "burst": // {"count":N,"data":D}
		rest := arg[len(`{"count":`):]
		end := bytes.IndexByte(rest, ',')
		count, _ := strconv.Atoi(string(rest[:end]))
		data := rest[end+len(`,"data":`) : len(rest)-1]
		for range count {
			l.send(c, `42["msg",`, data, `]`)
		}
	case "join": // "R"
		l.rooms[string(arg)] = append(l.rooms[string(arg)], c)
		l.ack(c, id, []byte("true"))
	case "leave":
		l.leave(c, string(arg))
		l.ack(c, id, []byte("true"))
	case "room": // {"room":R,"data":D}
		rest := arg[len(`{"room":`):]
		end := bytes.IndexByte(rest, ',')
		data := rest[end+len(`,"data":`) : len(rest)-1]
		l.broadcast(l.rooms[string(rest[:end])], data)
	case "typing": // R
		b := append(l.frame[:0], `42["typing",`...)
		l.frame = append(append(b, arg...), ']')
		m := appendFrame(nil, l.frame)
		for _, to := range l.rooms[string(arg)] {
			if to != c {
				l.write(to, m)
			}
		}
	}
}

func (l *loop) leave(c *conn, room string) {
	members := l.rooms[room]
	for i, m := range members {
		if m == c {
			members[i] = members[len(members)-1]
			l.rooms[room] = members[:len(members)-1]
		}
	}
	if len(l.rooms[room]) == 0 {
		delete(l.rooms, room)
	}
}

func (l *loop) broadcast(to []*conn, data []byte) {
	size := len(`42["msg",`) + len(data) + 1
	b := appendHeader(l.frame[:0], size)
	b = append(b, `42["msg",`...)
	b = append(b, data...)
	l.frame = append(b, ']')
	for _, c := range to {
		l.write(c, l.frame)
	}
}

func (l *loop) ack(c *conn, id, arg []byte) {
	b := appendHeader(l.frame[:0], len(`43`)+len(id)+1+len(arg)+1)
	b = append(append(b, `43`...), id...)
	b = append(append(b, '['), arg...)
	l.frame = append(b, ']')
	l.write(c, l.frame)
}

func (l *loop) send(c *conn, before string, data []byte, after string) {
	b := appendHeader(l.frame[:0], len(before)+len(data)+len(after))
	b = append(append(b, before...), data...)
	l.frame = append(b, after...)
	l.write(c, l.frame)
}

func appendFrame(b, payload []byte) []byte { return append(appendHeader(b, len(payload)), payload...) }

func appendHeader(b []byte, size int) []byte {
	switch {
	case size < 126:
		return append(b, 0x81, byte(size))
	case size < 1<<16:
		return append(b, 0x81, 126, byte(size>>8), byte(size))
	}
	return binary.BigEndian.AppendUint64(append(b, 0x81, 127), uint64(size))
}

// write sends b and queues the part that the kernel does not accept.
func (l *loop) write(c *conn, b []byte) {
	if c.fd < 0 {
		return
	}
	if len(c.out) > 0 {
		c.out = append(c.out, b...)
		return
	}
	n, err := syscall.Write(c.fd, b)
	if err != nil && err != syscall.EAGAIN && err != syscall.EINTR {
		return // the next read closes it
	}
	if n = max(n, 0); n < len(b) {
		c.out = append(c.out, b[n:]...)
		_ = l.watch(syscall.EPOLL_CTL_MOD, c.fd, syscall.EPOLLIN|syscall.EPOLLOUT)
	}
}

// flush sends the queue of c.
func (l *loop) flush(c *conn) {
	n, err := syscall.Write(c.fd, c.out)
	if err != nil {
		return
	}
	if c.out = c.out[n:]; len(c.out) == 0 {
		c.out = nil
		_ = l.watch(syscall.EPOLL_CTL_MOD, c.fd, syscall.EPOLLIN)
	}
}

func (l *loop) close(c *conn) {
	for i, o := range l.open {
		if o == c {
			l.open[i] = l.open[len(l.open)-1]
			l.open = l.open[:len(l.open)-1]
			break
		}
	}
	for room := range l.rooms {
		l.leave(c, room)
	}
	l.conns[c.fd] = nil
	_ = syscall.Close(c.fd)
	c.fd = -1
}
