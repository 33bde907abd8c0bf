package epoll

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/netfd"
)

const (
	readBuffer = 128 << 10 // bytes read from one connection in a turn
	maxTurn    = 4 << 10   // bytes of these that may hold more than one frame
)

// Events of a connection, apart from EPOLLOUT.
const (
	hungUp   = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR // the peer sends no more
	readable = unix.EPOLLIN | hungUp                           // the connection must be read
)

// handle reads c or writes its queue, depending on events. It returns false if the loop is lost.
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

// read reads one turn's share from c. The resulting work is bounded by the bytes that may hold more than one frame;
// decompression multiplies them by up to a thousand. The payload of a large frame costs little and is read up to
// the size of the buffer.
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
		// A frame that is complete in the buffer needs no assembly.
		more, _ := netfd.Read(c.fd, l.buf[n:min(n+lacking, len(l.buf))])
		n += max(more, 0) // the next turn reports an error
	}
	return n, 0
}

// run calls Run of c's handler and ends the gathering. It returns false if the loop is lost.
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
	// Uncork may have emptied the queue.
	drained := c.out == nil && !c.has(closing|mute)
	if !c.unsentLocked() {
		l.watch(c) // otherwise epoll would keep reporting writability
		if c.has(closing) {
			c.signal()
		}
	}
	c.mu.Unlock()
	if drained {
		c.handler.HandleDrain(c)
	}
}

// maxKeptPending is the number of signalled connections for which a loop keeps capacity.
const maxKeptPending = 1024

// nextPending removes and returns a signalled connection.
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

// settle does the pending work of a signalled connection. It returns false if the loop is lost.
func (l *loop) settle(c *Conn) bool {
	c.mu.Lock()
	c.state.And(^uint32(signalled))
	useless := c.has(broken)
	c.mu.Unlock()
	if !useless {
		c.gather()
		if c.feedEarly() {
			return l.run(c) // if c must be closed as well, it has been signalled again
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
	if c.isSlowLocked() {
		// Otherwise the kernel would keep the unsent bytes for a peer that does not read.
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

// expire closes connections whose peers have not completed the closing handshake in time.
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
