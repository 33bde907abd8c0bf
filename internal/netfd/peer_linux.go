package netfd

import (
	"time"

	"golang.org/x/sys/unix"
)

// HungUp reports whether the peer of a socket has ended its stream or the connection has failed. Unread bytes may
// remain.
func HungUp(fd int32) bool {
	fds := [1]unix.PollFd{{Fd: fd, Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n > 0
}

// Heard reports whether the kernel has received data or an acknowledgement from the peer of a TCP connection within
// the given time. It returns true for other sockets.
func Heard(fd int32, within time.Duration) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return true
	}
	last := min(info.Last_ack_recv, info.Last_data_recv) // milliseconds
	return time.Duration(last)*time.Millisecond <= within
}
