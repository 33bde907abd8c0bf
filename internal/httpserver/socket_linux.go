package httpserver

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/netfd"
	"github.com/myriad-rt/myriad/transport/epoll"
)

const (
	// deferAccept is the approximate time in seconds for which the kernel withholds a connection that has sent
	// nothing.
	deferAccept = 1
	// After keepAlive seconds of silence, keepAliveCount unanswered probes, keepAlive seconds apart, end a
	// connection. Package net uses the same numbers.
	keepAlive      = 15
	keepAliveCount = 9
)

// lookInterval bounds the time to notice that the caller has closed the listener. The runtime notifies only
// goroutines blocked in its Accept.
const lookInterval = 250 * time.Millisecond

// acceptor accepts connections of a listener without registering each with the runtime, which never waits for
// connections that become WebSocket connections. The listener keeps its descriptor, so closing it closes the port.
type acceptor struct {
	listener net.Listener
	poller   *netfd.Poller
	look     time.Time   // next time to check the listener
	early    bool        // connections may predate the inherited options
	try      func() bool // fills the following results
	fd       int
	peer     netip.AddrPort
	errno    syscall.Errno
	closed   bool
}

// newAcceptor returns nil if l has no descriptor. TCP connections are accepted when the client has sent something,
// or after a second. They inherit TCP_NODELAY and keep-alive from the socket of l. The error is one of a system
// call.
func newAcceptor(l net.Listener) (*acceptor, error) {
	switch l.(type) {
	case *net.TCPListener, *net.UnixListener:
	default:
		return nil, nil
	}
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	poller, err := netfd.OpenPoller()
	if err != nil {
		return nil, err
	}
	a := &acceptor{listener: l, poller: poller, look: time.Now().Add(lookInterval), early: true}
	accept := func(fd uintptr) { a.fd, a.peer, a.errno = accept4(int(fd)) }
	a.try = func() bool {
		a.closed = raw.Control(accept) != nil
		a.early = a.early && a.errno != unix.EAGAIN
		return a.closed || a.errno != unix.EAGAIN
	}
	closed := raw.Control(func(fd uintptr) {
		setOptions(int(fd))
		err = poller.Control(unix.EPOLL_CTL_ADD, int(fd), unix.EPOLLIN, 1, 0)
	})
	if closed != nil {
		err = closed
	}
	if err != nil {
		poller.Close()
		return nil, err
	}
	return a, nil
}

// setOptions sets the options of a connection, or of a listening socket whose connections inherit them. Errors are
// ignored: without the options connections are only slower.
func setOptions(fd int) {
	for _, o := range [...]struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferAccept},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAlive},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAlive},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
	} {
		_ = unix.SetsockoptInt(fd, o.level, o.name, o.value)
	}
}

// accept waits for a connection. It returns net.ErrClosed once the listener has been closed.
func (a *acceptor) accept() (*socket, error) {
	for {
		a.errno = unix.EAGAIN
		a.poller.Await(a.look, a.try)
		switch {
		case a.closed:
			return nil, net.ErrClosed
		case a.errno == unix.EAGAIN:
			a.look = time.Now().Add(lookInterval)
		case a.errno == unix.ECONNABORTED, a.errno == unix.EINTR:
		case a.errno != 0:
			address := a.listener.Addr()
			return nil, &net.OpError{Op: "accept", Net: address.Network(), Addr: address, Err: os.NewSyscallError("accept4", a.errno)}
		default:
			if a.early {
				setOptions(a.fd)
			}
			return &socket{fd: a.fd, peer: a.peer, local: a.listener.Addr()}, nil
		}
	}
}

// stop closes the listener and ends accept. It must not be called after close.
func (a *acceptor) stop() {
	a.listener.Close() // it may already be closed
	a.poller.Wake()
}

// close releases the poller of a. accept must have returned.
func (a *acceptor) close() { a.poller.Close() }

// accept4 accepts a connection from a non-blocking socket.
func accept4(fd int) (conn int, peer netip.AddrPort, errno syscall.Errno) {
	var address unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&address)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, peer, errno
	}
	switch address.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(&address))
		peer = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), networkOrder(&a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(&address))
		ip := netip.AddrFrom16(a.Addr).Unmap()
		if a.Scope_id != 0 {
			if i, err := net.InterfaceByIndex(int(a.Scope_id)); err == nil {
				ip = ip.WithZone(i.Name)
			}
		}
		peer = netip.AddrPortFrom(ip, networkOrder(&a.Port))
	}
	return int(r), peer, 0
}

// networkOrder returns the number whose bytes are in network order.
func networkOrder(n *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(n))[:]) }

// errWouldBlock is returned by Read when the peer has sent nothing.
var errWouldBlock = errors.New("httpserver: read would block")

// socket is a connection held as a descriptor. It becomes a net.Conn when a write exceeds the bytes that the kernel
// accepts at once. Until then reads do not wait. Reads and writes share one deadline.
type socket struct {
	fd       int // -1 once handed over
	peer     netip.AddrPort
	local    net.Addr
	deadline time.Time // of conn
	conn     net.Conn  // nil before block
}

var _ epoll.Detacher = (*socket)(nil)

// detach returns the descriptor of a net.Conn, or -1.
func detach(c net.Conn) int {
	switch c := c.(type) {
	case *net.TCPConn:
		return netfd.Detach(c)
	case *net.UnixConn:
		return netfd.Detach(c)
	}
	return -1
}

// Detach implements [epoll.Detacher].
func (s *socket) Detach() int {
	if s.conn != nil {
		return detach(s.conn)
	}
	fd := s.fd
	s.fd = -1
	return fd
}

// block turns s into a net.Conn. On failure it closes s.
func (s *socket) block() error {
	if s.conn != nil {
		return nil
	}
	f := os.NewFile(uintptr(s.Detach()), "")
	defer f.Close() // FileConn duplicates the descriptor
	conn, err := net.FileConn(f)
	if err != nil {
		return err
	}
	s.conn = conn
	return conn.SetDeadline(s.deadline)
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	switch {
	case s.conn != nil:
		return s.conn.Read(p)
	case s.fd < 0:
		return 0, net.ErrClosed
	case len(p) == 0:
		return 0, nil
	}
	n, errno := netfd.Read(int32(s.fd), p)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, errWouldBlock
	case errno != 0:
		return 0, os.NewSyscallError("read", errno)
	case n == 0:
		return 0, net.ErrClosed
	}
	return n, nil
}

// tryWrite writes as much of p as the kernel accepts at once, possibly nothing. It must not be called after block.
func (s *socket) tryWrite(p []byte) (int, error) {
	switch {
	case s.fd < 0:
		return 0, net.ErrClosed
	case len(p) == 0:
		return 0, nil
	}
	return netfd.Write(int32(s.fd), p)
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (n int, err error) {
	if s.conn == nil {
		if n, err = s.tryWrite(p); err != nil || n == len(p) {
			return n, err
		}
		if err := s.block(); err != nil {
			return n, err
		}
	}
	m, err := s.conn.Write(p[n:])
	return n + m, err
}

// CloseWrite shuts down the writing side. net/http calls it.
func (s *socket) CloseWrite() error {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	if s.fd < 0 {
		return net.ErrClosed
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(s.fd, unix.SHUT_WR))
}

// Close implements net.Conn.
func (s *socket) Close() error {
	switch {
	case s.conn != nil:
		return s.conn.Close()
	case s.fd < 0:
		return net.ErrClosed
	}
	return unix.Close(s.Detach())
}

// LocalAddr implements net.Conn.
func (s *socket) LocalAddr() net.Addr {
	if s.conn != nil {
		return s.conn.LocalAddr()
	}
	return s.local
}

// RemoteAddr implements net.Conn.
func (s *socket) RemoteAddr() net.Addr {
	if !s.peer.IsValid() {
		return &net.UnixAddr{Name: "@", Net: "unix"} // package net's name for unnamed sockets
	}
	return (*peerAddr)(s)
}

// peerAddr is the peer address of a TCP connection.
type peerAddr socket

func (a *peerAddr) Network() string { return "tcp" }

func (a *peerAddr) String() string { return a.peer.String() }

// SetDeadline implements net.Conn.
func (s *socket) SetDeadline(t time.Time) error {
	if s.conn != nil {
		return s.conn.SetDeadline(t)
	}
	s.deadline = t
	return nil
}

// SetReadDeadline implements net.Conn.
func (s *socket) SetReadDeadline(t time.Time) error { return s.SetDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.SetDeadline(t) }
