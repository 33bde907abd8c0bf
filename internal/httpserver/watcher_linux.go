package httpserver

import (
	"context"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/drain"
	"github.com/myriad-rt/myriad/internal/netfd"
)

const (
	maxEvents  = 128 // taken from the kernel at once
	yieldAfter = 8   // batches without waiting before other goroutines get a turn
)

// events describes events on a connection.
type events uint8

const (
	readable events = 1 << iota // there are bytes to read, or the end of the stream
	writable                    // there is room to write
	gone                        // the peer sends no more, or the connection has failed
	failed                      // the connection has failed
)

// watcher holds the connections that a Server serves itself. One goroutine waits for all of them.
type watcher struct {
	poller *netfd.Poller
	events [maxEvents]unix.EpollEvent
	rest   handover
	open   drain.Group // connections

	stopping atomic.Bool // accept no more connections; set with mu held

	mu    sync.Mutex
	conns map[uint64]*conn // by id, as carried in events
	last  uint64           // last id; 0 is Poller.Wake
}

// start prepares w for connections, once. The error is one of a system call. rest serves the connections that are
// handed over.
func (w *watcher) start(rest *http.Server) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.poller != nil {
		return nil
	}
	var err error
	if w.poller, err = netfd.OpenPoller(); err != nil {
		return err
	}
	w.conns = make(map[uint64]*conn)
	w.rest = handover{conns: make(chan net.Conn), done: make(chan struct{})}
	go w.serve()
	go rest.Serve(&w.rest)
	return nil
}

// add starts the handling of events for c. It returns false if w has been stopped or the kernel refuses; the caller
// must then close c.
func (w *watcher) add(c *conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping.Load() {
		return false
	}
	w.last++
	c.id = w.last
	const edges = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLOUT | unix.EPOLLET
	if w.poller.Control(unix.EPOLL_CTL_ADD, c.socket.fd, edges, uint32(c.id), uint32(c.id>>32)) != nil {
		return false
	}
	w.conns[c.id] = c
	w.open.Add(1)
	return true
}

// remove undoes add. The descriptor of c must still be open.
func (w *watcher) remove(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.poller.Control(unix.EPOLL_CTL_DEL, c.socket.fd, 0, 0, 0) // c is registered
	delete(w.conns, c.id)
	w.open.Done()
	if len(w.conns) == 0 {
		w.conns = make(map[uint64]*conn) // release memory retained by an emptied map
		if w.stopping.Load() {
			w.poller.Wake()
		}
	}
}

// stop closes the connections that wait for a request, and the others after their current request.
func (w *watcher) stop() {
	w.mu.Lock()
	if w.poller == nil || w.stopping.Load() {
		w.mu.Unlock()
		return
	}
	w.stopping.Store(true)
	w.poller.Wake()
	w.mu.Unlock()
	for _, c := range w.all() {
		c.handle(0)
	}
}

// wait waits until there are no connections. If ctx is done first, it closes the remaining ones.
func (w *watcher) wait(ctx context.Context) error {
	err := w.open.Wait(ctx)
	for _, c := range w.all() {
		c.handle(gone | failed)
	}
	return err
}

func (w *watcher) all() []*conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*conn, 0, len(w.conns))
	for _, c := range w.conns {
		all = append(all, c)
	}
	return all
}

func (w *watcher) serve() {
	pprof.SetGoroutineLabels(watcherLabel)
	defer w.poller.Close()
	for batches := 0; !w.ended(); batches++ {
		n, errno := w.poller.Poll(w.events[:])
		switch {
		case n == 0 && errno == 0:
			batches = 0
			n, errno = w.poller.Wait(w.events[:], time.Time{})
		case batches >= yieldAfter:
			batches = 0
			runtime.Gosched()
		}
		if errno != 0 && errno != unix.EINTR {
			// The loop cannot go on. Only a bug in this package leads here.
			panic(os.NewSyscallError("epoll_wait", errno))
		}
		for _, event := range w.events[:max(n, 0)] {
			if c := w.conn(event); c != nil {
				c.handle(eventsOf(event.Events))
			}
		}
	}
}

// watcherLabel labels the goroutine in profiles.
var watcherLabel = pprof.WithLabels(context.Background(), pprof.Labels("myriad", "watcher"))

func eventsOf(kernel uint32) (e events) {
	const broken = unix.EPOLLHUP | unix.EPOLLERR
	if kernel&(unix.EPOLLIN|unix.EPOLLRDHUP|broken) != 0 {
		e |= readable
	}
	if kernel&unix.EPOLLOUT != 0 {
		e |= writable
	}
	if kernel&(unix.EPOLLRDHUP|broken) != 0 {
		e |= gone
	}
	if kernel&broken != 0 {
		e |= failed
	}
	return e
}

// conn returns the connection of event, or nil if it has been removed.
func (w *watcher) conn(event unix.EpollEvent) *conn {
	id := uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32
	if id == 0 {
		w.poller.Awake()
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns[id]
}

func (w *watcher) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopping.Load() && len(w.conns) == 0
}

// handover is a listener from which net/http accepts the connections handed over to it.
type handover struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// give hands a connection over to net/http.
func (h *handover) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close()
	}
}

// Accept implements net.Listener.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *handover) Addr() net.Addr { return new(net.TCPAddr) }
