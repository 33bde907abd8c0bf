//go:build !linux

package httpserver

import (
	"context"
	"net"
	"net/http"
)

// watchable returns false: net/http serves all connections.
func watchable(net.Listener) bool { return false }

func (*Server) accept(net.Listener) error { return nil }

type watcher struct{}

func (*watcher) start(*http.Server) error { return nil }

func (*watcher) stop() {}

func (*watcher) wait(context.Context) error { return nil }
