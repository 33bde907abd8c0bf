//go:build !linux

package epoll

import "net"

// poller is the event loops, which only Linux has.
type poller struct{}

func newPoller(*Server) (*poller, error) { return nil, nil }

func (*poller) adopt(net.Conn) *Conn { return nil }

func (*poller) conns() []*Conn { return nil }

func (*poller) close() {}

// Unread returns false.
func (*Conn) Unread() bool { return false }
