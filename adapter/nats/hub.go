package nats

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// feedSize is the number of messages that the client may hand over faster than they are put into the queue.
	feedSize = 1 << 15
	// greetTime is how long the server may take to answer before it is asked again.
	greetTime = 10 * time.Second
)

// hub receives for the namespaces of a server. While there is something to receive, one goroutine, run, tells the
// client what to subscribe to, which may block; another one, pump, puts messages into a queue, and one more, work,
// exists while there are any in it. A hub without subscriptions holds nothing.
//
// All subjects share the queue, so that what a node publishes is handled in that order, whatever the subjects.
type hub struct {
	conn   *nats.Conn
	limit  int // of bytes in the queue
	logger *slog.Logger
	wake   chan struct{}

	mu      sync.Mutex
	wanted  map[string]*backend // by subject
	made    map[string]*backend // for whom run has subscribed to a subject
	joined  map[*backend]bool   // and whether run has subscribed to what they always have
	changed map[string]struct{} // subjects that run has not looked at since they changed
	arrived []*backend          // that are to be told when they are subscribed
	waiting []chan struct{}     // closed when run has done what it can about changed
	running bool

	queueMu sync.Mutex
	queue   []*nats.Msg
	bytes   int // in the queue, or being handled
	working bool
}

func newHub(conn *nats.Conn, limit int, logger *slog.Logger) *hub {
	if logger == nil {
		logger = slog.Default()
	}
	return &hub{
		conn: conn, limit: limit, logger: logger, wake: make(chan struct{}, 1),
		wanted: make(map[string]*backend), made: make(map[string]*backend),
		joined: make(map[*backend]bool), changed: make(map[string]struct{}),
	}
}

// join subscribes a backend to the subjects that it always has. It does not block.
func (h *hub) join(b *backend, subjects ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.joined[b] = false
	h.arrived = append(h.arrived, b)
	for _, subject := range subjects {
		h.wanted[subject] = b
		h.changeLocked(subject)
	}
}

// leave ends that at once.
func (h *hub) leave(b *backend, subjects ...string) {
	h.unsubscribe(b, subjects...)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.joined, b)
}

// subscribe makes b get what is published on a subject, soon. It does not block.
func (h *hub) subscribe(b *backend, subject string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wanted[subject] = b
	h.changeLocked(subject)
}

// unsubscribe ends that at once.
func (h *hub) unsubscribe(b *backend, subjects ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, subject := range subjects {
		if h.wanted[subject] == b {
			delete(h.wanted, subject)
			h.changeLocked(subject)
		}
	}
}

func (h *hub) changeLocked(subject string) {
	h.changed[subject] = struct{}{}
	if !h.running {
		h.running = true
		go h.run()
	}
	h.wakeUp()
}

func (h *hub) wakeUp() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// flush waits until the server has been told of all changes so far, if it can be reached, or until ctx ends.
func (h *hub) flush(ctx context.Context) error {
	done := make(chan struct{})
	h.mu.Lock()
	if h.running {
		h.waiting = append(h.waiting, done)
		h.wakeUp()
	} else {
		close(done)
	}
	h.mu.Unlock()
	told := make(chan error, 1)
	go func() { // the client does not heed ctx while it writes
		<-done
		if h.conn.IsConnected() {
			told <- h.conn.FlushWithContext(ctx)
			return
		}
		told <- nil
	}()
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run keeps the subscriptions in line with what is wanted, until nothing is.
func (h *hub) run() {
	feed := make(chan *nats.Msg, feedSize)
	statuses := h.conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	connected := h.conn.IsConnected()
	go h.pump(feed, statuses, connected)
	subscribed := make(map[string]*nats.Subscription)
	for {
		changed, arrived, waiting, done := h.takeChanges()
		if done { // what is wanted by now is for another run
			for subject := range subscribed {
				h.end(subject, subscribed)
			}
			changed = nil
		}
		for subject := range changed {
			h.apply(subject, subscribed, feed)
		}
		if arrived = h.subscribed(arrived); len(arrived) > 0 {
			go h.greet(arrived)
		}
		if done {
			h.conn.RemoveStatusListener(statuses) // which ends pump
			h.ended(waiting)
			return
		}
		for _, w := range waiting {
			close(w)
		}
		<-h.wake
	}
}

// takeChanges returns what to look at. done says that there will be nothing more to do.
func (h *hub) takeChanges() (changed map[string]struct{}, arrived []*backend, waiting []chan struct{}, done bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed, h.changed = h.changed, make(map[string]struct{})
	arrived, h.arrived = h.arrived, nil
	waiting, h.waiting = h.waiting, nil
	return changed, arrived, waiting, len(h.wanted) == 0
}

// apply subscribes to a subject or unsubscribes from it. Who takes a subject over gets a subscription of its own. The
// client keeps subscriptions when it connects anew.
func (h *hub) apply(subject string, subscribed map[string]*nats.Subscription, feed chan *nats.Msg) {
	h.mu.Lock()
	wanted, made := h.wanted[subject], h.made[subject]
	h.mu.Unlock()
	if wanted == made {
		return
	}
	if made != nil {
		h.end(subject, subscribed)
	}
	if wanted == nil {
		return
	}
	h.mu.Lock()
	h.made[subject] = wanted // before messages come
	h.mu.Unlock()
	s, err := h.conn.ChanSubscribe(subject, feed)
	if err != nil {
		h.logger.Warn("subject not subscribed to", "subject", subject, "err", err)
		h.end(subject, subscribed)
		return
	}
	subscribed[subject] = s
}

// end unsubscribes from a subject.
func (h *hub) end(subject string, subscribed map[string]*nats.Subscription) {
	h.mu.Lock()
	delete(h.made, subject)
	h.mu.Unlock()
	if s := subscribed[subject]; s != nil {
		delete(subscribed, subject)
		_ = s.Unsubscribe() // it fails if the connection is closed
	}
}

// subscribed takes note that run has subscribed for backends, and returns those that have not left meanwhile.
func (h *hub) subscribed(backends []*backend) (joined []*backend) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range backends {
		if _, ok := h.joined[b]; ok {
			h.joined[b] = true
			joined = append(joined, b)
		}
	}
	return joined
}

// greet has backends take part when the server has processed their subscriptions. It may take its time. If the connection is
// lost meanwhile, that is for when it is there again.
func (h *hub) greet(backends []*backend) {
	for h.conn.IsConnected() {
		err := h.conn.FlushTimeout(greetTime)
		if backends = h.subscribed(backends); len(backends) == 0 {
			return
		}
		if err == nil {
			for _, b := range backends {
				b.node.Connected()
			}
			return
		}
	}
}

// ended is the last act of run, after which another one may begin.
func (h *hub) ended(waiting []chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range append(waiting, h.waiting...) {
		close(w)
	}
	h.waiting = nil
	h.running = len(h.wanted) > 0
	if !h.running {
		return
	}
	for subject := range h.wanted {
		h.changed[subject] = struct{}{}
	}
	go h.run()
}

// pump takes what the client hands over. It never blocks, so that the client does not have to drop messages.
func (h *hub) pump(feed <-chan *nats.Msg, statuses <-chan nats.Status, connected bool) {
	dropped := make(map[*nats.Subscription]int)
	for {
		select {
		case m := <-feed:
			h.add(m)
			h.countDropped(m, dropped)
		case status, ok := <-statuses:
			if !ok {
				return
			}
			now := status == nats.CONNECTED
			h.statusChanged(status, now != connected)
			connected = now
		}
	}
}

// countDropped looks whether the client had to drop messages nevertheless.
func (h *hub) countDropped(m *nats.Msg, dropped map[*nats.Subscription]int) {
	n, err := m.Sub.Dropped()
	if err != nil || n == dropped[m.Sub] {
		return
	}
	if b := h.backend(m); b != nil {
		b.node.Dropped(n - dropped[m.Sub])
	}
	dropped[m.Sub] = n
}

// backend returns whose subscription a message has come by, or nil if that has ended. The next namespace of the same
// name must not hear what the one before it has said: that would be another node to it.
func (h *hub) backend(m *nats.Msg) *backend {
	h.mu.Lock()
	b := h.wanted[m.Subject]
	made := h.made[m.Subject]
	h.mu.Unlock()
	if b != made || !m.Sub.IsValid() {
		return nil
	}
	return b
}

// statusChanged tells all namespaces that the connection is there, or gone, if that is news.
func (h *hub) statusChanged(status nats.Status, news bool) {
	if status == nats.CLOSED {
		h.logger.Error("connection to NATS closed for good", "err", h.conn.LastError())
	}
	if !news {
		return
	}
	h.mu.Lock()
	backends := make([]*backend, 0, len(h.joined))
	for b, subscribed := range h.joined {
		if subscribed {
			backends = append(backends, b)
		}
	}
	h.mu.Unlock()
	if status == nats.CONNECTED {
		h.logger.Info("connected to NATS")
		go h.greet(backends)
		return
	}
	h.logger.Warn("connection to NATS lost", "err", h.conn.LastError())
	for _, b := range backends {
		b.node.Lost()
	}
}

// messageSize is what a message counts in the queue, in bytes.
func messageSize(m *nats.Msg) int { return len(m.Data) + len(m.Subject) + 256 }

// add queues a message, if there is room for it.
func (h *hub) add(m *nats.Msg) {
	h.queueMu.Lock()
	size := messageSize(m)
	if h.bytes > 0 && h.bytes+size > h.limit {
		h.queueMu.Unlock()
		if b := h.backend(m); b != nil {
			b.node.Dropped(1)
		}
		return
	}
	h.queue = append(h.queue, m)
	h.bytes += size
	start := !h.working
	h.working = true
	h.queueMu.Unlock()
	if start {
		go h.work()
	}
}

// work hands messages to backends until the queue is empty.
func (h *hub) work() {
	for {
		h.queueMu.Lock()
		batch := h.queue
		h.queue = nil
		if len(batch) == 0 {
			h.working = false
			h.queueMu.Unlock()
			return
		}
		h.queueMu.Unlock()
		for i, m := range batch {
			batch[i] = nil
			if b := h.backend(m); b != nil {
				b.handle(m.Data)
			}
			h.queueMu.Lock()
			h.bytes -= messageSize(m)
			h.queueMu.Unlock()
		}
	}
}
