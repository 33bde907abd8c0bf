package epoll

import "github.com/myriad-rt/myriad/internal/netfd"

// Unread reports whether the peer has sent bytes that the loop has not read, because it is busy with other
// connections or this one is paused. It returns false after the end of the stream, and for connections with their
// own reading goroutine.
func (c *Conn) Unread() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fd >= 0 && netfd.Unread(c.fd)
}
