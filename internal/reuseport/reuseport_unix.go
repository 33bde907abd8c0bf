//go:build unix

// Package reuseport listens on ports shared by several processes.
package reuseport

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen returns a listener at addr, a TCP address. If shared is true, other processes may also listen on the port
// with shared set, and the kernel assigns each connection to one of them.
func Listen(ctx context.Context, addr string, shared bool) (net.Listener, error) {
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
