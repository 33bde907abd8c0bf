package socketio

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport/epoll"
)

const (
	// maxHead is the size in bytes of the largest request head that is not left to net/http.
	maxHead = 16 << 10
	// answerTimeout is how long a client may go without taking anything of an answer.
	answerTimeout = 30 * time.Second
	// lingerTimeout is how long a connection stays half-open after an answer that leaves part of the request unread;
	// if it were closed at once, the client might lose the answer.
	lingerTimeout = time.Second
)

// keeper has the HTTP connections of a front while their requests are plain. Those that wait, for the next request or for
// the answer to a poll, take neither goroutine nor buffer.
type keeper struct {
	server   *Server
	give     func(conn epoll.Waiter, ahead []byte) // to net/http, with what has been read
	watcher  *epoll.Watcher
	stopping atomic.Bool // connections are closed when their request has been answered

	mu    sync.Mutex
	conns map[*kept]struct{}
	ended bool // no others are taken
}

// newKeeper returns nil where the system does not give what is needed.
func newKeeper(s *Server, give func(conn epoll.Waiter, ahead []byte)) *keeper {
	w, err := epoll.NewWatcher()
	if err != nil {
		return nil
	}
	return &keeper{server: s, give: give, watcher: w, conns: make(map[*kept]struct{})}
}

// keep takes over a connection that has just been accepted, of which ahead has been read. It returns false if the
// keeper has ended.
func (k *keeper) keep(conn epoll.Waiter, ahead []byte) bool {
	c := &kept{keeper: k, conn: conn, in: ahead, more: true}
	c.mu.Lock()
	defer c.mu.Unlock()
	k.mu.Lock()
	ended := k.ended
	if !ended {
		k.conns[c] = struct{}{}
	}
	k.mu.Unlock()
	if ended {
		return false
	}
	var err error
	if c.id, err = k.watcher.Watch(conn, c); err != nil {
		c.closeLocked()
		return true
	}
	c.limitLocked(handshakeTimeout)
	c.readLocked()
	return true
}

func (k *keeper) forget(c *kept) {
	k.watcher.Unwatch(c.conn, c.id)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
	if len(k.conns) == 0 {
		k.conns = make(map[*kept]struct{}) // a crowd that has left must not be remembered for ever
		if k.ended {
			k.watcher.Close()
		}
	}
}

// end takes no more connections. When there are none left, everything is released.
func (k *keeper) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	if len(k.conns) == 0 {
		k.watcher.Close()
	}
}

func (k *keeper) all() []*kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]*kept, 0, len(k.conns))
	for c := range k.conns {
		all = append(all, c)
	}
	return all
}

// shutdown closes connections as soon as no request of theirs is being answered, and those that are left when ctx
// ends. It then returns the error of ctx.
func (k *keeper) shutdown(ctx context.Context) error {
	k.end()
	k.stopping.Store(true)
	for _, c := range k.all() {
		c.mu.Lock()
		if c.state == reading {
			c.closeLocked()
		}
		c.mu.Unlock()
	}
	const longest = 50 * time.Millisecond
	for wait := time.Millisecond; ; wait = min(2*wait, longest) {
		rest := k.all()
		if len(rest) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			for _, c := range rest {
				c.HandleEvents(epoll.Gone | epoll.Failed)
			}
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// serves reports whether a request is answered here. What there is on other paths may want more of a ResponseWriter.
func (k *keeper) serves(r *http.Request) bool {
	return r.URL.Path == k.server.path && (r.ContentLength == 0 || r.Method == http.MethodPost) && k.server.engine.IsPlain(r)
}

// kept is a connection that speaks HTTP/1.1.
//
//	          head complete          answered              taken
//	reading ──────────────▶ serving ──────────▶ writing ──────────▶ reading
//	   │                                           │ last answer
//	   └─ net/http ──▶ left ◀── timeout, client ── lingering
//
// The lock is held for system calls, which do not wait; it is never held while a function of another package
// is called that takes part in serving a request. Who holds it may not take the lock of a session or a transport.
type kept struct {
	keeper *keeper
	conn   epoll.Waiter
	id     uint64 // for the watcher
	timer  wheel.Timer

	mu      sync.Mutex
	state   keptState
	more    bool      // there may be something to read
	gone    bool      // the client sends no more, or has gone altogether
	last    bool      // no request is read after this one
	due     time.Time // when the timer expires; zero if it does not
	in      []byte    // read, but not used
	out     []byte    // of the answer, not written
	request *keptRequest
}

type keptState uint8

const (
	reading   keptState = iota // a request, if there is anything of it
	serving                    // request is being answered, or waits for that
	writing                    // out is being taken
	lingering                  // until the client has seen the answer
	left                       // closed, or someone else's
)

// HandleEvents implements [epoll.Watched].
func (c *kept) HandleEvents(e epoll.Events) {
	c.mu.Lock()
	c.more = c.more || e&epoll.Readable != 0
	c.gone = c.gone || e&epoll.Gone != 0
	var lost func()
	if r := c.request; r != nil && c.gone {
		lost = r.lost
	}
	switch {
	case c.state == left:
	case e&epoll.Failed != 0 || lost != nil:
		c.closeLocked()
	case c.state == serving:
		c.request.body.wake()
		if c.gone {
			c.request.cancel()
		}
	case c.state == writing:
		c.writeLocked()
	case c.state == lingering:
		c.lingerLocked()
	}
	if c.state == reading && (c.more || len(c.in) > 0) {
		c.readLocked()
	}
	c.mu.Unlock()
	if lost != nil {
		lost()
	}
}

// Expire implements [wheel.Task].
func (c *kept) Expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.due.IsZero() && !time.Now().Before(c.due) {
		c.closeLocked()
	}
}

// limitLocked closes the connection after d, unless it is called again before; zero is for ever.
func (c *kept) limitLocked(d time.Duration) {
	switch {
	case d > 0:
		c.due = time.Now().Add(d)
		c.keeper.server.wheel.Schedule(&c.timer, d, c)
	case !c.due.IsZero():
		c.due = time.Time{}
		c.keeper.server.wheel.Stop(&c.timer)
	}
}

// leaveLocked gives the connection up. The descriptor is the caller's.
func (c *kept) leaveLocked() {
	c.state = left
	c.limitLocked(0)
	c.in, c.out, c.request = nil, nil, nil
	c.keeper.forget(c)
}

func (c *kept) closeLocked() {
	if c.state == left {
		return
	}
	if r := c.request; r != nil {
		r.cancel()
		r.body.wake()
	}
	c.leaveLocked()
	c.conn.Close()
}

// scratch holds buffers that request heads are read into.
var scratch = sync.Pool{New: func() any { return new([maxHead]byte) }}

// readLocked reads the head of a request, and begins to serve it if it is complete.
func (c *kept) readLocked() {
	b := scratch.Get().(*[maxHead]byte)
	defer scratch.Put(b)
	n := copy(b[:], c.in)
	for {
		if end := bytes.Index(b[:n], headEnd); end >= 0 {
			end += len(headEnd)
			c.in = bytes.Clone(b[end:n])
			c.beginLocked(string(b[:end]))
			return
		}
		if n == len(b) || bytes.Contains(b[:n], []byte("\n\n")) {
			c.in = bytes.Clone(b[:n])
			c.giveLocked()
			return
		}
		if !c.more {
			break
		}
		m, err := c.receiveLocked(b[n:])
		if err != nil {
			c.closeLocked()
			return
		}
		n += m
	}
	if n > 0 && c.due.IsZero() {
		c.limitLocked(handshakeTimeout)
	}
	if n > len(c.in) {
		c.in = bytes.Clone(b[:n])
	}
}

// receiveLocked reads what has come, which may be nothing.
func (c *kept) receiveLocked(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	if err == epoll.ErrWouldBlock {
		c.more = false
		return 0, nil
	}
	// After a short read there is nothing but the end, if that has been seen.
	c.more = n == len(p) || c.gone
	return n, err
}

// giveLocked leaves the connection to net/http.
func (c *kept) giveLocked() {
	ahead := c.in
	c.leaveLocked()
	go c.keeper.give(c.conn, ahead)
}

// beginLocked serves the request with this head; the body, if there is one, follows in c.in.
func (c *kept) beginLocked(text string) {
	r := &keptRequest{conn: c, head: head{request: http.Request{Header: make(http.Header)}}}
	if !r.parse(text) || !c.keeper.serves(&r.request) {
		c.in = append([]byte(text), c.in...)
		c.giveLocked()
		return
	}
	c.limitLocked(0)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.request = *r.request.WithContext(ctx)
	r.request.RemoteAddr = c.conn.RemoteAddr().String()
	r.body = keptBody{conn: c, request: r, left: r.request.ContentLength}
	if r.body.left > 0 {
		r.request.Body = &r.body
	}
	c.state, c.request = serving, r
	c.last = r.request.Close
	go r.serve()
}

// writeLocked writes what the kernel takes of the answer. An error says that the client has gone.
func (c *kept) writeLocked() error {
	n, err := c.conn.TryWrite(c.out)
	if err != nil {
		c.closeLocked()
		return err
	}
	if c.out = c.out[n:]; len(c.out) > 0 {
		c.state = writing
		if n > 0 || c.due.IsZero() {
			c.limitLocked(answerTimeout)
		}
		return nil
	}
	c.out = nil
	c.limitLocked(0)
	switch {
	case !c.last && !c.keeper.stopping.Load():
		c.state = reading
	case c.more || len(c.in) > 0:
		c.state, c.in = lingering, nil
		_ = c.conn.CloseWrite() // if it fails, the client has gone
		c.limitLocked(lingerTimeout)
		c.lingerLocked()
	default:
		c.closeLocked()
	}
	return nil
}

// lingerLocked throws away what the client sends until it has seen the answer.
func (c *kept) lingerLocked() {
	b := scratch.Get().(*[maxHead]byte)
	defer scratch.Put(b)
	for c.more && c.state == lingering {
		if _, err := c.receiveLocked(b[:]); err != nil {
			c.closeLocked()
		}
	}
}
