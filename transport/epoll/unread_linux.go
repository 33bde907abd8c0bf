package epoll

import "github.com/myriad-rt/myriad/internal/netfd"

// Unread reports whether something has come from the peer that the loop has not read, because it is busy with other
// connections or this one is paused. It is always false after the end, and where a connection has a goroutine of its
// own, which has nothing else to do than to read.
func (c *Conn) Unread() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fd >= 0 && netfd.Unread(c.fd)
}
