package epoll

import (
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/netfd"
)

// Watcher tells the owners of connections of NewListener what happens to them, on one goroutine for all. All methods are
// safe for concurrent use.
type Watcher struct {
	fds    *netfd.Poller
	events [maxEvents]unix.EpollEvent

	mu       sync.Mutex
	watched  map[uint64]Watched // by id, which is what events carry
	last     uint64             // id given last; 0 is the eventfd
	stopping bool
}

// NewWatcher returns a Watcher and starts its goroutine, which Close ends. The error is that of a system call.
func NewWatcher() (*Watcher, error) {
	fds, err := netfd.OpenPoller()
	if err != nil {
		return nil, err
	}
	w := &Watcher{fds: fds, watched: make(map[uint64]Watched)}
	go w.serve()
	return w, nil
}

// Watch tells owner of conn from now on, until conn is closed or Unwatch is called with id. Wait must not have been
// called on conn.
func (w *Watcher) Watch(conn Waiter, owner Watched) (id uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	id = w.last
	const edges = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLOUT | unix.EPOLLET
	if err := w.fds.Control(unix.EPOLL_CTL_ADD, conn.(*accepted).fd, edges, uint32(id), uint32(id>>32)); err != nil {
		return 0, err
	}
	w.watched[id] = owner
	return id, nil
}

// Unwatch has conn not watched any more. It must be called before conn is closed or handed on.
func (w *Watcher) Unwatch(conn Waiter, id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watched, id)
	if len(w.watched) == 0 && !w.stopping {
		w.watched = make(map[uint64]Watched) // a crowd that has left must not be remembered for ever
	}
	if fd := conn.(*accepted).fd; fd >= 0 {
		_ = w.fds.Control(unix.EPOLL_CTL_DEL, fd, 0, 0, 0) // it is there
	}
}

// Close ends the Watcher, which must not watch anything any more. It does not wait for the goroutine.
func (w *Watcher) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopping {
		w.stopping = true
		w.fds.Wake()
	}
}

func (w *Watcher) serve() {
	pprof.SetGoroutineLabels(watcherLabel)
	for batches := 0; ; batches++ {
		n, errno := w.fds.Poll(w.events[:])
		switch {
		case n == 0 && errno == 0:
			batches = 0
			n, errno = w.fds.Wait(w.events[:], time.Time{})
		case batches >= yieldAfter:
			batches = 0
			runtime.Gosched()
		}
		if errno != 0 && errno != unix.EINTR {
			// There is no way to go on, and none to get here but a fault of this package.
			panic(os.NewSyscallError("epoll_wait", errno))
		}
		for _, event := range w.events[:max(n, 0)] {
			if owner := w.owner(event); owner != nil {
				owner.HandleEvents(eventsOf(event.Events))
			}
		}
		if w.ended() {
			return
		}
	}
}

func eventsOf(kernel uint32) (e Events) {
	const failed = unix.EPOLLHUP | unix.EPOLLERR
	if kernel&readable != 0 {
		e |= Readable
	}
	if kernel&unix.EPOLLOUT != 0 {
		e |= Writable
	}
	if kernel&(unix.EPOLLRDHUP|failed) != 0 {
		e |= Gone
	}
	if kernel&failed != 0 {
		e |= Failed
	}
	return e
}

// owner returns nil if the event is about a connection that is not watched any more.
func (w *Watcher) owner(event unix.EpollEvent) Watched {
	id := uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32
	if id == 0 {
		w.fds.Awake()
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watched[id]
}

// ended releases the descriptors if the Watcher has been closed.
func (w *Watcher) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping {
		w.fds.Close()
	}
	return w.stopping
}
