//go:build !unix

package main

import (
	"context"
	"errors"
	"net"
)

// listen returns a listener at addr. Ports cannot be shared here.
func listen(ctx context.Context, addr string, shared bool) (net.Listener, error) {
	if shared {
		return nil, errors.ErrUnsupported
	}
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", addr)
}
