package epoll

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/netfd"
	"github.com/myriad-rt/myriad/transport"
)

const (
	readBuffer = 128 << 10 // bytes that are read from one connection in a turn
	maxTurn    = 4 << 10   // bytes of them that may hold more than one frame
)

// Events of a connection, beside EPOLLOUT.
const (
	hungUp   = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR // the peer sends no more
	readable = unix.EPOLLIN | hungUp                           // it has to be read
)

// handle reads c, or writes its queue, as events say. It returns false if the loop is lost.
func (l *loop) handle(c *Conn, events uint32) bool {
	l.current = c
	if events&unix.EPOLLOUT != 0 {
		l.flush(c)
	}
	if events&hungUp != 0 {
		c.streamEnded()
	}
	if events&readable == 0 || c.has(paused|dead) {
		return true
	}
	c.gather()
	run := c.feedEarly()
	switch n, errno := l.read(c); {
	case errno == unix.EAGAIN || errno == unix.EINTR:
	case errno != 0:
		c.lost(lostError(os.NewSyscallError("read", errno)))
	case n == 0:
		c.lost(nil)
	default:
		run = c.feed(l.buf[:n]) || run
	}
	if run {
		return l.run(c)
	}
	c.scatter()
	return true
}

// read reads what c may have in one turn. The work that it makes is bounded by the number of bytes that may hold more
// than one frame, and after decompression by up to a thousand times their number. The payload of a large frame costs
// little, and is taken up to the size of the buffer.
func (l *loop) read(c *Conn) (n int, errno syscall.Errno) {
	size := maxTurn
	if c.deflate != nil {
		size = maxTurn / 8
	}
	size = min(max(size, c.lacking(nil)), len(l.buf))
	n, errno = netfd.Read(c.fd, l.buf[:size])
	if n < size {
		return n, errno
	}
	if lacking := c.lacking(l.buf[:n]); lacking > 0 && n < len(l.buf) {
		// A frame that is complete in the buffer need not be put together.
		more, _ := netfd.Read(c.fd, l.buf[n:min(n+lacking, len(l.buf))])
		n += max(more, 0) // what has gone wrong will be found in the next turn
	}
	return n, 0
}

// run calls Run of c's handler and ends what gather has begun. It returns false if the loop is lost.
func (l *loop) run(c *Conn) bool {
	h := c.handler
	if l.detach.due() {
		c.scatter()
		go work(h, c)
		return true
	}
	word := l.guard.enter(l)
	h.Run(c)
	c.scatter()
	if !l.guard.leave(l, word) {
		return false
	}
	l.detach.quick()
	return true
}

// flush writes the queue of c and tells the handler when it is empty.
func (l *loop) flush(c *Conn) {
	c.mu.Lock()
	if c.has(dead) || !c.has(writing) {
		c.mu.Unlock()
		return
	}
	if c.unsentLocked() {
		c.flushLocked()
	}
	// Uncork may have been the one that emptied it.
	drained := c.out == nil && !c.has(closing|mute)
	if !c.unsentLocked() {
		l.watch(c) // or epoll would go on reporting that there is room
		if c.has(closing) {
			c.signal()
		}
	}
	c.mu.Unlock()
	if drained {
		c.handler.HandleDrain(c)
	}
}

// maxKeptPending is the number of signalled connections that a loop keeps room for.
const maxKeptPending = 1024

// nextPending takes a connection that was signalled.
func (l *loop) nextPending() *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handled == len(l.pending) {
		clear(l.pending)
		if l.pending = l.pending[:0]; cap(l.pending) > maxKeptPending {
			l.pending = nil
		}
		l.handled = 0
		return nil
	}
	c := l.pending[l.handled]
	l.handled++
	return c
}

// settle does what c was signalled for. It returns false if the loop is lost.
func (l *loop) settle(c *Conn) bool {
	c.mu.Lock()
	c.state.And(^uint32(signalled))
	useless := c.has(broken)
	c.mu.Unlock()
	if !useless {
		c.gather()
		if c.feedEarly() {
			return l.run(c) // if c has to be closed as well, it has been signalled again
		}
		c.scatter()
	}

	c.mu.Lock()
	tell, act, err := c.dutiesLocked()
	switch act {
	case actHalfClose:
		unix.Shutdown(int(c.fd), unix.SHUT_WR)
	case actClose:
		l.closeLocked(c)
	}
	if c.has(closing) && !c.has(dead|timed) {
		c.state.Or(timed)
		l.timers.add(c.slot, c.generation, l.owner.options.CloseTimeout)
	}
	c.mu.Unlock()
	if tell != nil {
		tell.HandleClose(c, err)
	}
	return true
}

// closeLocked closes the descriptor of c.
func (l *loop) closeLocked(c *Conn) {
	c.state.Or(dead)
	if c.err != nil && *c.err == transport.ErrSlowPeer {
		// The kernel would keep what it has taken for a peer that does not read.
		unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	unix.Close(int(c.fd))
	c.fd = -1
	c.discardLocked()
	c.settleInput(true)
	l.owner.open.Done()
	if c.generation != 0 {
		l.mu.Lock()
		l.conns.remove(c)
		l.mu.Unlock()
	}
}

// expire closes connections whose peers have not done their part of closing in time.
func (l *loop) expire() {
	for !l.timers.empty() {
		t := l.timers.next()
		l.mu.Lock()
		c := l.conns.lookup(t.slot, t.generation)
		l.mu.Unlock()
		if c != nil {
			if t.at > time.Since(epoch) {
				return
			}
			c.lost(nil) // leads to settle in the next turn
		}
		l.timers.drop()
	}
}
