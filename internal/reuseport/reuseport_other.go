//go:build !unix

// Package reuseport listens on ports shared by several processes, which this system does not support.
package reuseport

import (
	"context"
	"errors"
	"net"
)

// Listen returns a listener at addr, a TCP address, or an error if shared is true.
func Listen(ctx context.Context, addr string, shared bool) (net.Listener, error) {
	if shared {
		return nil, errors.ErrUnsupported
	}
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", addr)
}
