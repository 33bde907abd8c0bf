package epoll

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/netfd"
)

// deferAccept is for how many seconds, roughly, the kernel keeps a connection to itself that has not sent anything.
const deferAccept = 1

// listener accepts connections without the registration that net makes for each: those that become WebSockets are
// never waited for by the runtime.
type listener struct {
	net.Listener
	file   *os.File // its descriptor
	closed atomic.Bool
	raw    syscall.RawConn
	accept func(fd uintptr) bool // does one accept4, with the following as its result
	fd     int
	peer   netip.AddrPort // invalid if it is a Unix socket
	errno  syscall.Errno
}

func newListener(l net.Listener) net.Listener {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return l
	}
	switch l.(type) {
	case *net.TCPListener, *net.UnixListener:
	default:
		return l
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return l // which says what is wrong
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(old uintptr) {
		// net.Listener lets nobody else wait for its descriptor.
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil || dupErr != nil {
		return l
	}
	if _, ok := l.(*net.TCPListener); ok {
		// What is refused only costs time.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferAccept)
	}
	a := &listener{Listener: l, file: os.NewFile(uintptr(fd), "")}
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.file.Close()
		return l
	}
	a.accept = func(fd uintptr) bool {
		a.fd, a.peer, a.errno = rawAccept(int(fd))
		return a.errno != unix.EAGAIN
	}
	return a
}

// Close implements net.Listener.
func (a *listener) Close() error {
	a.closed.Store(true)
	a.file.Close()
	return a.Listener.Close()
}

// Accept implements net.Listener.
func (a *listener) Accept() (net.Conn, error) {
	for {
		err := a.raw.Read(a.accept)
		switch {
		case err != nil && a.closed.Load():
			return nil, net.ErrClosed
		case err != nil:
			return nil, err
		case a.errno == unix.ECONNABORTED || a.errno == unix.EINTR:
			continue
		case a.errno != 0:
			return nil, &net.OpError{Op: "accept", Net: a.Addr().Network(), Addr: a.Addr(), Err: os.NewSyscallError("accept4", a.errno)}
		}
		return &accepted{fd: a.fd, peer: a.peer, listener: a.Listener}, nil
	}
}

// rawAccept accepts a connection of a socket that does not block.
func rawAccept(fd int) (conn int, peer netip.AddrPort, errno syscall.Errno) {
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

// accepted is a connection of a listener.
type accepted struct {
	fd       int // -1 when it belongs to someone else
	peer     netip.AddrPort
	listener net.Listener
	conn     net.Conn // after Wait
}

// Wait implements [Waiter].
func (a *accepted) Wait() error {
	if a.conn != nil {
		return nil
	}
	f := os.NewFile(uintptr(a.take()), "")
	defer f.Close() // FileConn has a descriptor of its own
	var err error
	a.conn, err = net.FileConn(f)
	return err
}

// take returns the descriptor, which is the caller's from now on.
func (a *accepted) take() int {
	fd := a.fd
	a.fd = -1
	return fd
}

// Read implements net.Conn.
func (a *accepted) Read(p []byte) (int, error) {
	switch {
	case a.conn != nil:
		return a.conn.Read(p)
	case a.fd < 0:
		return 0, net.ErrClosed
	case len(p) == 0:
		return 0, nil
	}
	n, errno := netfd.Read(int32(a.fd), p)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, ErrWouldBlock
	case errno != 0:
		return 0, os.NewSyscallError("read", errno)
	case n == 0:
		return 0, net.ErrClosed
	}
	return n, nil
}

// TryWrite implements [Waiter].
func (a *accepted) TryWrite(p []byte) (int, error) {
	switch {
	case a.fd < 0:
		return 0, net.ErrClosed
	case len(p) == 0:
		return 0, nil
	}
	return netfd.Write(int32(a.fd), p)
}

// CloseWrite implements [Waiter].
func (a *accepted) CloseWrite() error {
	if a.fd < 0 {
		return net.ErrClosed
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(a.fd, unix.SHUT_WR))
}

// Write implements net.Conn.
func (a *accepted) Write(p []byte) (int, error) {
	if err := a.Wait(); err != nil {
		return 0, err
	}
	return a.conn.Write(p)
}

// Close implements net.Conn.
func (a *accepted) Close() error {
	switch {
	case a.conn != nil:
		return a.conn.Close()
	case a.fd < 0:
		return net.ErrClosed
	}
	return unix.Close(a.take())
}

// LocalAddr implements net.Conn.
func (a *accepted) LocalAddr() net.Addr {
	if a.conn != nil {
		return a.conn.LocalAddr()
	}
	return a.listener.Addr()
}

// RemoteAddr implements net.Conn.
func (a *accepted) RemoteAddr() net.Addr {
	if !a.peer.IsValid() {
		return &net.UnixAddr{Name: "@", Net: "unix"} // as net names those that have no name
	}
	return (*peerAddr)(a)
}

// peerAddr is the address of the peer of a connection by TCP.
type peerAddr accepted

func (a *peerAddr) Network() string { return "tcp" }

func (a *peerAddr) String() string { return a.peer.String() }

// SetDeadline implements net.Conn.
func (a *accepted) SetDeadline(t time.Time) error {
	if a.conn != nil {
		return a.conn.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline implements net.Conn.
func (a *accepted) SetReadDeadline(t time.Time) error {
	if a.conn != nil {
		return a.conn.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline implements net.Conn.
func (a *accepted) SetWriteDeadline(t time.Time) error {
	if a.conn != nil {
		return a.conn.SetWriteDeadline(t)
	}
	return nil
}
