//go:build unix

package main

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listen returns a listener at addr. If the port is shared, other processes may listen on it, too, if theirs are shared, and the
// kernel gives each connection to one of them.
func listen(ctx context.Context, addr string, shared bool) (net.Listener, error) {
	var config net.ListenConfig
	if shared {
		config.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if cannot := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}); cannot != nil {
				return cannot
			}
			return err
		}
	}
	return config.Listen(ctx, "tcp", addr)
}
