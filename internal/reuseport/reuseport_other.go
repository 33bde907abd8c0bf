//go:build !unix

// Package reuseport listens on ports that several processes share, which is not possible here.
package reuseport

import (
	"context"
	"errors"
	"net"
)

// Listen returns a listener at addr, a TCP address, or an error if the port is to be shared.
func Listen(ctx context.Context, addr string, shared bool) (net.Listener, error) {
	if shared {
		return nil, errors.ErrUnsupported
	}
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", addr)
}
