//go:build !linux

package epoll

import (
	"net"
	"syscall"
	"time"
)

// poller is the event loops, which only Linux has.
type poller struct{}

func newPoller(*Server) (*poller, error) { return nil, nil }

func (*poller) adopt(net.Conn) *Conn { return nil }

func (*poller) conns() []*Conn { return nil }

func (*poller) close() {}

// Unread returns false.
func (*Conn) Unread() bool { return false }

// rawConn returns nil: the end of a stream cannot be waited for without reading.
func rawConn(net.Conn) syscall.RawConn { return nil }

// awaitEnd is for a RawConn.
func awaitEnd(syscall.RawConn) bool { return true }

// heard returns true.
func heard(syscall.RawConn, time.Duration) bool { return true }
