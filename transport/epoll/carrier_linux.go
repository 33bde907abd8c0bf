package epoll

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/netfd"
)

// server implements carrier.
func (l *loop) server() *Server { return l.owner }

// start implements carrier.
func (l *loop) start(c *Conn) {
	if c.in != nil {
		c.signal() // process the bytes read with the handshake
	}
	l.mu.Lock()
	refuse := l.stopping
	if !refuse {
		l.conns.insert(c)
	}
	l.mu.Unlock()
	if refuse {
		c.endLocked(broken, nil)
		return
	}
	if err := l.fds.Control(unix.EPOLL_CTL_ADD, int(c.fd), l.interest(c), c.slot, c.generation); err != nil {
		c.endLocked(broken, err)
	}
}

// interest returns the events that c must wait for and records them in its state.
func (l *loop) interest(c *Conn) (events uint32) {
	c.state.And(^uint32(reading | writing))
	events = unix.EPOLLRDHUP
	if !c.has(paused) {
		c.state.Or(reading)
		events |= unix.EPOLLIN
	}
	if c.unsentLocked() {
		c.state.Or(writing)
		events |= unix.EPOLLOUT
	}
	return events
}

// watch implements carrier.
func (l *loop) watch(c *Conn) {
	if c.has(dead) {
		return
	}
	if c.has(reading) != c.has(paused) && c.has(writing) == c.unsentLocked() {
		return
	}
	if err := l.fds.Control(unix.EPOLL_CTL_MOD, int(c.fd), l.interest(c), c.slot, c.generation); err != nil {
		c.endLocked(broken, err)
	}
}

// slack implements carrier: bytes that the kernel does not accept at once must wait.
func (l *loop) slack() int { return 0 }

// heard implements carrier.
func (l *loop) heard(c *Conn, within time.Duration) bool { return netfd.Heard(c.fd, within) }

// unread implements carrier. The turn of c begins before its bytes are read and ends after they have been handled, so
// the kernel is asked first.
func (l *loop) unread(c *Conn) bool { return netfd.Unread(c.fd) || c.has(gathering) }

// write implements carrier.
func (l *loop) write(c *Conn, b []byte) (int, error) {
	return netfd.Write(c.fd, b)
}

// writeQueue implements carrier.
func (l *loop) writeQueue(c *Conn) (int, error) {
	var space [netfd.MaxVectors][]byte
	return netfd.WriteVectors(c.fd, c.out.vectors(space[:0]))
}

// signal implements carrier.
func (l *loop) signal(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		go l.settle(c)
		return
	}
	l.pending = append(l.pending, c)
	if l.waiting {
		l.waiting = false
		l.fds.Wake()
	}
}
