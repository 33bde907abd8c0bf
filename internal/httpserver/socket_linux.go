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
	// deferAccept is for how many seconds, roughly, the kernel keeps a connection to itself that has not sent anything.
	deferAccept = 1
	// Unanswered, keepAliveCount probes after keepAlive seconds of silence, keepAlive seconds apart, end a
	// connection. These are the numbers of package net.
	keepAlive      = 15
	keepAliveCount = 9
)

// acceptor accepts connections of a listener, most of them without the registration that net makes for each:
// those that become WebSocket connections are never waited for by the runtime.
type acceptor struct {
	listener net.Listener
	raw      syscall.RawConn
	more     bool // the last connection may not have been the only one
	fd       int  // with peer and errno the result of accept4
	peer     netip.AddrPort
	errno    syscall.Errno
	accept4  func(fd uintptr)
}

// rawListener is a listener whose sockets can be accepted here.
type rawListener interface {
	net.Listener
	syscall.Conn
}

// watchable reports whether connections of l can be served by a watcher.
func watchable(l net.Listener) bool {
	switch l.(type) {
	case *net.TCPListener, *net.UnixListener:
		return true
	}
	return false
}

// newAcceptor has connections by TCP accepted when the client has sent something, or after a second. They have
// TCP_NODELAY and keep-alive, which they inherit from the socket of l.
func newAcceptor(l net.Listener) (*acceptor, error) {
	raw, err := l.(rawListener).SyscallConn()
	if err != nil {
		return nil, err
	}
	a := &acceptor{listener: l, raw: raw}
	a.accept4 = func(fd uintptr) { a.fd, a.peer, a.errno = accept4(int(fd)) }
	if _, ok := l.(*net.TCPListener); ok {
		err = raw.Control(func(fd uintptr) {
			for _, o := range [...]struct{ level, name, value int }{
				{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
				{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferAccept},
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAlive},
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAlive},
				{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
			} {
				_ = unix.SetsockoptInt(int(fd), o.level, o.name, o.value) // what is refused only costs time
			}
		})
	}
	return a, err
}

// accept waits for a connection. If its descriptor cannot be had, it returns the connection as net accepted it.
//
// The waiting is left to the listener, so that whoever closes it ends accept. Connections that have come
// together are taken without it.
func (a *acceptor) accept() (*socket, net.Conn, error) {
	if a.more {
		if err := a.raw.Control(a.accept4); err == nil && a.errno == 0 {
			return &socket{fd: a.fd, peer: a.peer, local: a.listener.Addr()}, nil, nil
		}
	}
	a.more = false
	c, err := a.listener.Accept()
	if err != nil {
		return nil, nil, err
	}
	a.more = true
	s := &socket{local: a.listener.Addr()}
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		peer := tcp.AddrPort()
		s.peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	}
	if s.fd = detach(c); s.fd < 0 {
		return nil, c, nil
	}
	return s, nil, nil
}

// detach returns the descriptor of a connection of net, or -1.
func detach(c net.Conn) int {
	switch c := c.(type) {
	case *net.TCPConn:
		return netfd.Detach(c)
	case *net.UnixConn:
		return netfd.Detach(c)
	}
	return -1
}

// accept4 accepts a connection of a socket that does not block.
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

// errWouldBlock is returned by reading a socket when the peer has not sent anything.
var errWouldBlock = errors.New("httpserver: read would block")

// socket is a connection as a descriptor. It becomes a connection of net when more is written than the kernel takes at
// once. Before that, reading does not wait. Reads and writes have one deadline.
type socket struct {
	fd       int // -1 when it belongs to somebody else
	peer     netip.AddrPort
	local    net.Addr
	deadline time.Time // for conn
	conn     net.Conn  // of net
}

var _ epoll.Detacher = (*socket)(nil)

// Detach implements [epoll.Detacher].
func (s *socket) Detach() int {
	if s.conn != nil {
		return detach(s.conn)
	}
	fd := s.fd
	s.fd = -1
	return fd
}

// block makes s a connection of net. If it fails, s is closed.
func (s *socket) block() error {
	if s.conn != nil {
		return nil
	}
	f := os.NewFile(uintptr(s.Detach()), "")
	defer f.Close() // FileConn has a descriptor of its own
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

// tryWrite writes as much of p as the kernel takes at once, which may be nothing. It must not be called after block.
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

// CloseWrite tells the peer that nothing more is to come. net/http calls it.
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
		return &net.UnixAddr{Name: "@", Net: "unix"} // as net names those that have no name
	}
	return (*peerAddr)(s)
}

// peerAddr is the address of the peer of a connection by TCP.
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
