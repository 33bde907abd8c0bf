package epoll

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/netfd"
	"github.com/myriad-rt/myriad/transport"
)

const (
	readBuffer = 128 << 10 // bytes that are read from one connection in a turn
	maxTurn    = 4 << 10   // bytes of them that may hold more than one frame
	maxEvents  = 128       // that are taken from the kernel at once
	yieldAfter = 8         // batches without waiting until other goroutines get their turn
	pageSize   = 1024      // connections in one page of a loop's table
)

// Events of a connection, beside EPOLLOUT.
const (
	hungUp   = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR // the peer sends no more
	readable = unix.EPOLLIN | hungUp                           // it has to be read
)

// loop is the carrier of the connections of one epoll descriptor.
//
// A loop is run by one goroutine at a time, its owner. Fields that are not said to be shared belong to
// the owner. A goroutine owns the loop until it finds, after a Run, that the guard has given the loop
// to another one. It then returns without touching the loop again: what is left of its batch of events
// is reported anew, because epoll is level-triggered, and everything else to be done is in pending.
type loop struct {
	owner *Server
	self  carrier // the loop; Conn.by points here
	guard *guard
	word  atomic.Uint64 // see guard

	buf     []byte
	events  [maxEvents]unix.EpollEvent
	ready   [maxEvents]*Conn // of the events
	batches int              // since the loop has waited
	current *Conn            // whose handler may be running
	timers  timers
	detach  detach

	mu       sync.Mutex // guards the following, which are shared
	table    []*[pageSize]*Conn
	free     []uint32 // slots
	used     uint32   // slots that were ever used
	count    int      // connections in table
	last     uint32   // generation given last
	pending  []*Conn  // signalled
	handled  int      // of pending
	waiting  bool     // in a wait that signal must interrupt
	stopping bool
	released bool // descriptors are closed, no goroutine is left
	fds      *netfd.Poller
	done     chan struct{} // closed with released
}

func newLoop(s *Server) (*loop, error) {
	fds, err := netfd.OpenPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{owner: s, fds: fds, buf: make([]byte, readBuffer), done: make(chan struct{})}
	l.self = l
	return l, nil
}

// serve runs the loop until it is stopped or lost.
func (l *loop) serve() {
	pprof.SetGoroutineLabels(loopLabel)
	owner, returned := ownerOf(l.word.Load()), false
	defer func() {
		if !returned {
			l.revive(owner)
		}
	}()
	for l.turn() {
	}
	returned = true
}

// revive gives the loop another goroutine if a handler has ended the one of owner with runtime.Goexit.
// A panic passes here as well, but it ends the program.
func (l *loop) revive(owner uint32) {
	for {
		word := l.word.Load()
		if ownerOf(word) != owner {
			return
		}
		if l.guard.seize(l, word) {
			break
		}
	}
	l.owner.options.Logger.Error("handler ended the goroutine of an event loop", slog.String("transport", "websocket"))
	if c := l.current; c != nil {
		c.Abort()
	}
	go l.serve()
}

// turn handles one batch of events and then what is pending. It returns false if the loop has ended for this goroutine.
func (l *loop) turn() bool {
	n := l.wait()
	for i := range n {
		c := l.ready[i]
		l.ready[i] = nil
		if c != nil && !l.handle(c, l.events[i].Events) {
			return false
		}
	}
	for c := l.nextPending(); c != nil; c = l.nextPending() {
		l.current = c
		if !l.settle(c) {
			return false
		}
	}
	l.current = nil
	l.expire()
	return !l.stopped()
}

// wait returns the number of events; ready holds their connections.
func (l *loop) wait() int {
	n, errno := l.fds.Poll(l.events[:])
	if l.batches++; n > 0 && l.batches >= yieldAfter {
		l.batches = 0
		runtime.Gosched()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == 0 && errno == 0 && len(l.pending) == 0 && !l.stopping {
		l.batches = 0
		l.waiting = true
		l.mu.Unlock()
		n, errno = l.fds.Wait(l.events[:], l.timers.deadline())
		l.mu.Lock()
		l.waiting = false
	}
	if errno != 0 {
		if errno != unix.EINTR {
			// There is no way to go on, and none to get here but a fault of this package.
			panic(os.NewSyscallError("epoll_wait", errno))
		}
		return 0
	}
	for i := range n {
		event := &l.events[i]
		if event.Pad == 0 {
			l.fds.Awake()
			continue
		}
		l.ready[i] = l.lookup(uint32(event.Fd), uint32(event.Pad))
	}
	return n
}

// lookup returns a connection of the table, or nil if it has closed. l.mu is held.
func (l *loop) lookup(slot, generation uint32) *Conn {
	page := int(slot / pageSize)
	if page >= len(l.table) {
		return nil
	}
	if c := l.table[page][slot%pageSize]; c != nil && c.generation == generation {
		return c
	}
	return nil
}

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
	c.out = nil
	c.settleInput(true)
	l.owner.open.Add(-1)
	if c.generation != 0 {
		l.remove(c)
	}
}

// expire closes connections whose peers have not done their part of closing in time.
func (l *loop) expire() {
	for !l.timers.empty() {
		t := l.timers.next()
		l.mu.Lock()
		c := l.lookup(t.slot, t.generation)
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

// stopped reports whether the loop has been stopped. If so, it aborts all connections and releases the
// loop.
func (l *loop) stopped() bool {
	l.mu.Lock()
	stopping := l.stopping
	l.mu.Unlock()
	if !stopping {
		return false
	}
	for _, c := range l.appendConns(nil) {
		c.Abort()
	}
	l.release()
	return true
}

// release closes the descriptors of the loop and deals with the connections that were signalled. Those
// that are signalled later have not been started, or have been closed.
func (l *loop) release() {
	for c := l.nextPending(); c != nil; c = l.nextPending() {
		l.settle(c)
	}
	l.mu.Lock()
	rest := l.pending[l.handled:]
	l.released = true
	l.mu.Unlock()
	for _, c := range rest {
		l.settle(c)
	}
	l.fds.Close()
	close(l.done)
}

// stop makes the owner end the loop.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopping && !l.released {
		l.stopping = true
		l.fds.Wake()
	}
}

// appendConns appends the started connections to dst.
func (l *loop) appendConns(dst []*Conn) []*Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, page := range l.table {
		for _, c := range page {
			if c != nil {
				dst = append(dst, c)
			}
		}
	}
	return dst
}

func (l *loop) server() *Server { return l.owner }

// start implements carrier.
func (l *loop) start(c *Conn) {
	if c.in != nil {
		c.signal() // for what has been read with the handshake
	}
	l.mu.Lock()
	refuse := l.stopping
	if !refuse {
		l.insert(c)
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

// insert gives c a slot and a generation. l.mu is held.
func (l *loop) insert(c *Conn) {
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.slot = l.used
		l.used++
		if int(c.slot/pageSize) == len(l.table) {
			l.table = append(l.table, new([pageSize]*Conn))
		}
	}
	if l.last++; l.last == 0 {
		l.last++ // 0 is the eventfd
	}
	c.generation = l.last
	l.table[c.slot/pageSize][c.slot%pageSize] = c
	l.count++
}

// remove takes c out of the table.
func (l *loop) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table[c.slot/pageSize][c.slot%pageSize] = nil
	if l.count--; l.count == 0 {
		// A crowd that has left must not be remembered for ever.
		l.table, l.free, l.used = nil, nil, 0
		return
	}
	l.free = append(l.free, c.slot)
}

// interest returns the events that c has to wait for and notes them in its state.
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

// heard implements carrier.
func (l *loop) slack() int { return 0 }

func (l *loop) heard(c *Conn, within time.Duration) bool { return netfd.Heard(c.fd, within) }

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
