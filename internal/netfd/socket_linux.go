package netfd

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read reads from a socket. b must not be empty.
func Read(fd int32, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// Unread reports whether a socket has unread bytes.
func Unread(fd int32) bool {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	return err == nil && n > 0
}

// Write writes as much of b as the kernel accepts, possibly nothing. b must not be empty.
func Write(fd int32, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return written(int(n), errno)
}

// MaxVectors is the largest number of chunks for WriteVectors.
const MaxVectors = 64

// WriteVectors is Write for one to MaxVectors chunks, none of them empty.
func WriteVectors(fd int32, vectors [][]byte) (int, error) {
	var iov [MaxVectors]unix.Iovec
	for i, b := range vectors {
		iov[i].Base = &b[0]
		iov[i].SetLen(len(b))
	}
	message := unix.Msghdr{Iov: &iov[0]}
	message.SetIovlen(len(vectors))
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&message)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return written(int(n), errno)
}

func written(n int, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		return n, nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("write", errno)
}

// Detach closes conn and returns a descriptor for its socket, which stays open and belongs to the caller. On
// failure it returns -1 and leaves conn unchanged. The descriptor is a duplicate, because the runtime's poller
// releases its own only by closing it.
func Detach(conn interface {
	syscall.Conn
	net.Conn
}) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil || dupErr != nil {
		return -1
	}
	conn.Close()
	return fd
}
