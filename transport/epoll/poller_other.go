//go:build !linux

package epoll

import (
	"net"
	"syscall"
	"time"
)

// poller holds the event loops, which exist on Linux only.
type poller struct{}

func newPoller(*Server) (*poller, error) { return nil, nil }

func (*poller) adopt(net.Conn) *Conn { return nil }

func (*poller) conns() []*Conn { return nil }

func (*poller) close() {}

// rawConn returns nil: these systems cannot wait for the end of a stream without reading.
func rawConn(net.Conn) syscall.RawConn { return nil }

// awaitEnd is never called: rawConn returns nil.
func awaitEnd(syscall.RawConn) bool { return true }

// unread returns false.
func unread(syscall.RawConn) bool { return false }

// heard returns true.
func heard(syscall.RawConn, time.Duration) bool { return true }
