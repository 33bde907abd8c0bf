package epoll

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/myriad-rt/myriad/internal/netfd"
)

// rawConn returns the descriptor below conn, or nil if there is none.
func rawConn(conn net.Conn) syscall.RawConn {
	socket, ok := below(conn).(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil // the next read reports the error
	}
	return raw
}

// awaitEnd waits until the peer has ended its stream or the connection has failed, and returns true. It returns
// false when the read deadline passes. It does not read.
func awaitEnd(raw syscall.RawConn) bool {
	err := raw.Read(func(fd uintptr) bool { return netfd.HungUp(int32(fd)) })
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// unread is [netfd.Unread]. It is false if raw is nil.
func unread(raw syscall.RawConn) (yes bool) {
	if raw == nil {
		return false
	}
	err := raw.Control(func(fd uintptr) { yes = netfd.Unread(int32(fd)) })
	return yes && err == nil
}

// heard is [netfd.Heard]. It is true if raw is nil.
func heard(raw syscall.RawConn, within time.Duration) (yes bool) {
	if raw == nil {
		return true
	}
	err := raw.Control(func(fd uintptr) { yes = netfd.Heard(int32(fd), within) })
	return yes && err == nil
}
