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
	maxEvents  = 128 // that are taken from the kernel at once
	yieldAfter = 8   // batches without waiting until other goroutines get their turn
)

// events says what has happened to a connection.
type events uint8

const (
	readable events = 1 << iota // there is something to read, or the end
	writable                    // there is room for something to write
	gone                        // the peer sends no more, or the connection has failed
	failed                      // the connection has failed
)

// watcher is the connections that a Server serves itself. One goroutine waits for all of them.
type watcher struct {
	poller *netfd.Poller
	events [maxEvents]unix.EpollEvent
	rest   handover
	open   drain.Group // connections

	stopping atomic.Bool // no others are taken; set with mu held

	mu    sync.Mutex
	conns map[uint64]*conn // by id, which is what events carry
	last  uint64           // id given last; 0 is Poller.Wake
}

// start prepares w for connections if it has not been called before. The error is that of a system call. net/http
// gets the connections that are handed over.
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

// add has events of c handled from now on. It returns false, and c is the caller's to close, if w has been stopped or the
// kernel refuses.
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
	_ = w.poller.Control(unix.EPOLL_CTL_DEL, c.socket.fd, 0, 0, 0) // it is there
	delete(w.conns, c.id)
	w.open.Done()
	if len(w.conns) == 0 {
		w.conns = make(map[uint64]*conn) // release memory retained by an emptied map
		if w.stopping.Load() {
			w.poller.Wake()
		}
	}
}

// stop closes the connections that wait for a request, and each of the others after its present one.
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

// wait waits until there are no connections. When ctx ends first it closes those that are left.
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
			// There is no way to go on, and none to get here but a fault of this package.
			panic(os.NewSyscallError("epoll_wait", errno))
		}
		for _, event := range w.events[:max(n, 0)] {
			if c := w.conn(event); c != nil {
				c.handle(eventsOf(event.Events))
			}
		}
	}
}

// watcherLabel shows in profiles of goroutines.
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

// conn returns nil if the event is about a connection that has been removed.
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

// handover is the listener from which net/http accepts the connections that it is to serve.
type handover struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// give leaves a connection to net/http.
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
