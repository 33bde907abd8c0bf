package epoll

import (
	"errors"
	"net"
)

// ErrWouldBlock is returned by reading a connection of NewListener when the peer has not sent anything.
var ErrWouldBlock = errors.New("epoll: read would block")

// Waiter is a connection of NewListener. Before Wait is called, reading it returns ErrWouldBlock instead of waiting,
// deadlines mean nothing, and [Server.Upgrade] takes its descriptor as it is, which saves a number of system calls.
type Waiter interface {
	net.Conn
	// TryWrite writes as much of p as the kernel takes at once, which may be nothing. It must not be called after Wait.
	TryWrite(p []byte) (n int, err error)
	// CloseWrite tells the peer that nothing more is to come. It must not be called after Wait.
	CloseWrite() error
	// Wait makes it a connection as net has them.
	Wait() error
}

// NewListener returns a listener that takes l over. On Linux, if l listens on TCP or Unix sockets, its connections
// are Waiters, and those of TCP are accepted when the client has sent something (TCP_DEFER_ACCEPT), have TCP_NODELAY
// and no keep-alive, whose purpose heartbeats serve. Accept must not be called by several goroutines at once then.
// In other cases NewListener returns l.
func NewListener(l net.Listener) net.Listener { return newListener(l) }
