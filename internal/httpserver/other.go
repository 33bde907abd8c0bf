//go:build !linux

package httpserver

import (
	"context"
	"net"
	"net/http"
)

type acceptor struct{}

// newAcceptor returns nil: net/http serves all connections.
func newAcceptor(net.Listener) (*acceptor, error) { return nil, nil }

func (*acceptor) stop() {}

func (*acceptor) close() {}

func (*Server) accept(*acceptor) error { return nil }

type watcher struct{}

func (*watcher) start(*http.Server) error { return nil }

func (*watcher) stop() {}

func (*watcher) wait(context.Context) error { return nil }
