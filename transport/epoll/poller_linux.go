package epoll

import (
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/netfd"
)

// poller holds the event loops of a Server.
type poller struct {
	loops []*loop
	next  atomic.Uint32 // counts connections, to distribute them over the loops
	guard *guard
}

func newPoller(s *Server) (*poller, error) {
	p := &poller{}
	for range s.options.Loops {
		l, err := newLoop(s)
		if err != nil {
			for _, l := range p.loops {
				l.release()
			}
			return nil, err
		}
		p.loops = append(p.loops, l)
	}
	p.guard = newGuard(s, p.loops)
	for _, l := range p.loops {
		l.guard = p.guard
		go l.serve()
	}
	go p.guard.watch()
	return p, nil
}

// adopt takes over the descriptor of conn and returns a Conn for it, or nil on failure.
func (p *poller) adopt(conn net.Conn) *Conn {
	fd := -1
	switch c := conn.(type) {
	case Detacher:
		fd = c.Detach()
	case *net.TCPConn:
		fd = netfd.Detach(c)
	case *net.UnixConn:
		fd = netfd.Detach(c)
	}
	if fd < 0 {
		return nil
	}
	// The heartbeat detects dead peers; probes would cost as much.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
	l := p.loops[p.next.Add(1)%uint32(len(p.loops))]
	return &Conn{by: &l.self, fd: int32(fd)}
}

// conns returns the started connections.
func (p *poller) conns() []*Conn {
	var all []*Conn
	for _, l := range p.loops {
		all = append(all, l.started()...)
	}
	return all
}

// close aborts all connections and ends the loops and their guard.
func (p *poller) close() {
	for _, l := range p.loops {
		l.stop()
	}
	for _, l := range p.loops {
		<-l.done
	}
	p.guard.stop()
}
