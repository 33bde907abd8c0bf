package epoll

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/netfd"
)

const (
	maxEvents  = 128 // taken from the kernel at once
	yieldAfter = 8   // batches without waiting before other goroutines get a turn
)

// loop is the carrier for the connections of one epoll descriptor.
//
// One goroutine at a time runs a loop, its owner. Fields not marked as shared belong to the owner. A goroutine owns
// the loop until it finds, after a Run, that the guard has given the loop to another goroutine. It then returns
// without touching the loop again: the rest of its batch of events is reported again, because epoll is
// level-triggered, and all other work is in pending.
type loop struct {
	owner *Server
	self  carrier // the loop; Conn.by points here
	guard *guard
	word  atomic.Uint64 // see guard

	buf     []byte
	events  [maxEvents]unix.EpollEvent
	ready   [maxEvents]*Conn // connections of the events
	batches int              // since the last wait
	current *Conn            // whose handler may be running
	timers  timers
	detach  detach

	mu       sync.Mutex // guards the following, which are shared
	conns    table      // started
	pending  []*Conn    // signalled
	handled  int        // of pending
	waiting  bool       // in a wait that signal must interrupt
	stopping bool
	released bool // descriptors are closed, no goroutines remain
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

// revive gives the loop a new goroutine if a handler has ended the one of owner with runtime.Goexit. A panic also
// passes through revive, but it ends the program.
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
	l.owner.options.Logger.Error("handler called runtime.Goexit on an event loop", slog.String("transport", "websocket"))
	if c := l.current; c != nil {
		c.Abort()
	}
	go l.serve()
}

// turn handles one batch of events, then pending. It returns false if this goroutine must stop running the loop.
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

// wait returns the number of events and stores their connections in ready.
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
			// The loop cannot go on. Only a bug in this package leads here.
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
		l.ready[i] = l.conns.lookup(uint32(event.Fd), uint32(event.Pad))
	}
	return n
}

// stopped reports whether the loop has been stopped. If so, it aborts all connections and releases the loop.
func (l *loop) stopped() bool {
	l.mu.Lock()
	stopping := l.stopping
	l.mu.Unlock()
	if !stopping {
		return false
	}
	for _, c := range l.started() {
		c.Abort()
	}
	l.release()
	return true
}

// release closes the descriptors of the loop and processes the signalled connections. Connections signalled later
// have not been started, or have already closed.
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

// started returns the started connections.
func (l *loop) started() []*Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns.all()
}
