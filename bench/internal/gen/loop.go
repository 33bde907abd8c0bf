//go:build linux

package gen

import (
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
	"unsafe"
)

// Sources is the number of loopback addresses that the clients of a loop connect from. Each has about 28,000 ports for
// one server.
const Sources = 64

const (
	// maxMessage is the largest message that can be received, in bytes.
	maxMessage = 16 << 20
	// ipBindAddressNoPort lets connect choose the port, because it knows both addresses. Package syscall does not
	// have the constant.
	ipBindAddressNoPort = 24

	bufferSize = 512 << 10 // bytes
	maxEvents  = 1024
)

// The handshake's key is the example of RFC 6455 section 1.3: the answer is known.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

var pong = AppendFrame(nil, []byte("3"), false)

// Handler is a scenario as its loop sees it.
type Handler interface {
	// Message is called with each Engine.IO message of a client that has joined. A text message includes its type byte.
	// m is valid until Message returns. An error ends the run.
	Message(c *Conn, m []byte, isBinary bool) error
}

// Opener is a Handler that is called as soon as a client has joined. Options.InFlight is then the number of simultaneous
// clients: the next one connects when one leaves.
type Opener interface{ Opened(c *Conn) }

// Options configure a Loop.
type Options struct {
	Addr string // of the server
	Kind Kind
	// MessagePack makes clients use the format of socket.io-msgpack-parser.
	MessagePack bool
	// Deflate makes clients offer permessage-deflate as Chromium does, and fail if the server does not accept it. Clients
	// do not compress their own messages.
	Deflate bool
	// InFlight is how many clients connect at once. Zero means 128.
	InFlight int
	// FirstSource offsets the range of source addresses, which starts at 127.0.0.2, so that several processes can run at
	// once.
	FirstSource int
}

// Loop runs clients.
type Loop struct {
	// Clients are the clients that have joined: in the order of joining while Connect runs, then by their index.
	Clients []*Conn
	// Pings counts the heartbeats that were answered.
	Pings int

	opts     Options
	server   syscall.SockaddrInet4
	host     string
	handler  Handler
	binary   bool          // CONNECT is a binary message
	inflater io.ReadCloser // nil without Options.Deflate

	epfd      int
	conns     []*Conn // by descriptor
	events    []syscall.EpollEvent
	buf       []byte
	scratch   []byte
	handshake []byte
	join      []byte

	dialled, wanted int
	err             error
}

// New returns a loop that passes the messages of its clients to h.
func New(opts Options, h Handler) (*Loop, error) {
	at, err := netip.ParseAddrPort(opts.Addr)
	if err != nil || !at.Addr().Is4() {
		return nil, fmt.Errorf("gen: %q is not an IPv4 address with a port", opts.Addr)
	}
	if opts.InFlight == 0 {
		opts.InFlight = 128
	}
	l := &Loop{
		opts:    opts,
		server:  syscall.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())},
		host:    opts.Addr,
		handler: h,
		binary:  opts.MessagePack,
		events:  make([]syscall.EpollEvent, maxEvents),
		buf:     make([]byte, bufferSize),
	}
	// The request of the official client for Node.js.
	l.handshake = []byte("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nHost: " + opts.Addr + "\r\n")
	if opts.Deflate {
		l.handshake = append(l.handshake, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"...)
		l.inflater = flate.NewReader(nil)
	}
	l.handshake = append(l.handshake, "\r\n"...)
	l.join = AppendFrame(nil, []byte("40"), false)
	if opts.MessagePack {
		l.join = AppendFrame(nil, []byte("\x82\xa4type\x00\xa3nsp\xa1/"), true)
	}
	if l.epfd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return l, nil
}

// Fail ends the run with err.
func (l *Loop) Fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// ErrTimeout is returned by Until when the time is over.
var ErrTimeout = errors.New("gen: time is over")

// Connect connects n more clients and returns when all have joined.
func (l *Loop) Connect(n int, timeout time.Duration) error {
	l.wanted += n
	for range min(n, l.opts.InFlight) {
		l.dialNext()
	}
	if err := l.Until(timeout, func() bool { return len(l.Clients) == l.wanted }); err != nil {
		return fmt.Errorf("%d of %d clients connected: %w", len(l.Clients), l.wanted, err)
	}
	slices.SortFunc(l.Clients, func(a, b *Conn) int { return a.Index - b.Index })
	return nil
}

// Disconnect closes all connections.
func (l *Loop) Disconnect() {
	for _, c := range l.conns {
		if c != nil {
			c.close()
		}
	}
	l.Clients, l.dialled, l.wanted = nil, 0, 0
}

// Close closes all connections and releases the loop's resources.
func (l *Loop) Close() error {
	l.Disconnect()
	return os.NewSyscallError("close", syscall.Close(l.epfd))
}

// Until runs the loop until done returns true. It calls done after each batch of events. If the time is over first, it
// returns ErrTimeout.
func (l *Loop) Until(timeout time.Duration, done func() bool) error {
	const longest = 100 // ms between checks of the clock
	return l.run(timeout, longest, done)
}

// Spin is like Until but does not sleep, so that done is called on time.
func (l *Loop) Spin(timeout time.Duration, done func() bool) error { return l.run(timeout, 0, done) }

func (l *Loop) run(timeout time.Duration, longest int, done func() bool) error {
	deadline := time.Now().Add(timeout)
	for l.err == nil {
		if done() {
			return l.err
		}
		n, errno := l.wait(0)
		if n == 0 {
			left := time.Until(deadline)
			if longest > 0 || left <= 0 {
				n, errno = l.wait(int(min(max(0, left)/time.Millisecond+1, time.Duration(longest))))
			}
			// Messages that arrived while this process waited for a processor have arrived in time.
			if n == 0 && left <= 0 {
				return ErrTimeout
			}
		}
		if errno != 0 && errno != syscall.EINTR {
			return os.NewSyscallError("epoll_wait", errno)
		}
		for i := range max(n, 0) {
			if c := l.conns[l.events[i].Fd]; c != nil {
				c.ready(l.events[i].Events)
			}
		}
	}
	return l.err
}

// Run runs the loop for d.
func (l *Loop) Run(d time.Duration) error {
	deadline := time.Now().Add(d)
	err := l.Until(d, func() bool { return !time.Now().Before(deadline) })
	if errors.Is(err, ErrTimeout) {
		return nil
	}
	return err
}

// wait waits for events, for ms milliseconds at most. A call that does not block bypasses the scheduler.
func (l *Loop) wait(ms int) (int, syscall.Errno) {
	call := syscall.Syscall6
	if ms == 0 {
		call = syscall.RawSyscall6
	}
	n, _, errno := call(syscall.SYS_EPOLL_PWAIT, uintptr(l.epfd), uintptr(unsafe.Pointer(unsafe.SliceData(l.events))),
		uintptr(len(l.events)), uintptr(ms), 0, 0)
	return int(n), errno
}

func (l *Loop) control(op, fd int, events uint32) error {
	err := syscall.EpollCtl(l.epfd, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}

// opened is called when a client has joined.
func (l *Loop) opened(c *Conn) {
	l.Clients = append(l.Clients, c)
	if h, ok := l.handler.(Opener); ok {
		h.Opened(c)
		return
	}
	l.dialNext()
}

func (l *Loop) dialNext() {
	if l.dialled == l.wanted {
		return
	}
	c := &Conn{Index: l.dialled, kind: l.opts.Kind}
	l.dialled++
	if err := l.dial(c); err != nil {
		c.loop = l
		c.fail(err)
	}
}

// probe opens the second connection of a client that upgrades.
func (l *Loop) probe(c *Conn) error {
	c.peer = &Conn{Index: c.Index, kind: Upgraded, peer: c, sid: c.sid}
	return l.dial(c.peer)
}

// dial starts to connect c.
func (l *Loop) dial(c *Conn) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	c.loop, c.fd = l, fd
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = c
	if err := syscall.SetsockoptInt(fd, syscall.SOL_IP, ipBindAddressNoPort, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	source := l.opts.FirstSource + c.Index%Sources
	from := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, byte(source / 250), byte(2 + source%250)}}
	if err := syscall.Bind(fd, from); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := syscall.Connect(fd, &l.server); err != nil && err != syscall.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return l.control(syscall.EPOLL_CTL_ADD, fd, syscall.EPOLLOUT)
}
