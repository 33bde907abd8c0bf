package subscribe

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	defaultInterval   = 5 * time.Second
	defaultPatience   = time.Second
	defaultMaxPending = 64 << 20

	// maxQuiet is the number of consecutive checks without a sign of life after which a connection is given up.
	// Checks are counted instead of time so that a pause of this process does no harm: an answer that has arrived
	// is read before the next check.
	maxQuiet = 3
	// The delay before a retry; half of it is random.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

var (
	errSilent = errors.New("connection has gone silent")
	errMoved  = errors.New("subscription has moved to another server")
	errEnded  = errors.New("connection has ended")
)

// Options configure a Receiver. The zero value gives the defaults.
type Options struct {
	// Backend names the broker in logs.
	Backend string
	// Logger receives lost and restored subscriptions. Nil means slog.Default().
	Logger *slog.Logger
	// MaxPendingBytes bounds received, unhandled bytes for all members. Zero means 64 MiB.
	MaxPendingBytes int
	// Patience is how long a connection waits for space in a member's queue before messages for it are dropped.
	// Zero means 1 s; negative means no wait.
	Patience time.Duration
	// Interval is twice the time between two checks of the connections. A connection silent for two intervals, in
	// spite of Ping, is given up. Interval also bounds each call of a driver. Zero means 5 s.
	Interval time.Duration
}

// Receiver maintains subscriptions. It is safe for concurrent use.
type Receiver struct {
	driver   Driver
	backend  string
	logger   *slog.Logger
	interval time.Duration
	pool     pool
	wake     chan struct{}
	feeds    map[string]*Feed // by key; of run

	mu      sync.RWMutex
	wanted  map[string][]*Member // by name; the slices are immutable
	placed  map[string]*Feed     // the connection of each name that is subscribed to, or about to be
	changed map[string]struct{}  // names changed since run last processed them
	waiting []chan struct{}      // closed when run has processed changed as far as possible
	running bool
	failed  bool // a failure that run has not processed
	down    bool // something has failed and not everything works again
}

// New returns a receiver without subscriptions.
func New(d Driver, o Options) *Receiver {
	r := &Receiver{
		driver: d, backend: o.Backend, logger: o.Logger, interval: o.Interval,
		pool: pool{limit: o.MaxPendingBytes, patience: o.Patience}, wake: make(chan struct{}, 1),
		wanted: make(map[string][]*Member), placed: make(map[string]*Feed), feeds: make(map[string]*Feed),
		changed: make(map[string]struct{}),
	}
	if r.logger == nil {
		r.logger = slog.Default()
	}
	if r.interval <= 0 {
		r.interval = defaultInterval
	}
	if r.pool.limit <= 0 {
		r.pool.limit = defaultMaxPending
	}
	if r.pool.patience == 0 {
		r.pool.patience = defaultPatience
	}
	return r
}

// members returns the members that want a name.
func (r *Receiver) members(name string) []*Member {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.wanted[name]
}

// tell notifies the members that want a name that it is subscribed to.
func (r *Receiver) tell(name string) {
	var connected []*Member
	r.mu.Lock()
	for _, m := range r.wanted[name] {
		if m.confirmedLocked(name) {
			connected = append(connected, m)
		}
	}
	r.mu.Unlock()
	for _, m := range connected {
		m.owner.Connected()
	}
}

func (r *Receiver) changeLocked(name string) {
	r.changed[name] = struct{}{}
	if !r.running {
		r.running = true
		go r.run()
	}
	r.wakeUp()
}

func (r *Receiver) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// flush waits until the broker has been told of all changes so far, if reachable, or until ctx is done.
func (r *Receiver) flush(ctx context.Context) error {
	done := make(chan struct{})
	r.mu.Lock()
	if !r.running {
		r.mu.Unlock()
		return nil
	}
	r.waiting = append(r.waiting, done)
	r.mu.Unlock()
	r.wakeUp()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fail makes run retry after a delay, and logs the first of several failures.
func (r *Receiver) fail(err error) {
	r.mu.Lock()
	first := !r.down
	r.failed, r.down = true, true
	r.mu.Unlock()
	r.wakeUp()
	if first {
		r.logger.Warn("subscriptions lost", "backend", r.backend, "err", err)
	}
}

// run maintains the connections until nothing is wanted.
func (r *Receiver) run() {
	p := &pace{look: time.NewTimer(r.interval / 2), retry: time.NewTimer(r.interval), delay: minBackoff}
	defer p.look.Stop()
	defer p.retry.Stop()
	for {
		r.mu.Lock()
		changed, waiting, done := r.changed, r.waiting, len(r.wanted) == 0
		r.changed, r.waiting = make(map[string]struct{}), nil
		r.mu.Unlock()
		r.endFeeds(false)
		r.apply(changed)
		r.endFeeds(done)
		for _, w := range waiting {
			close(w)
		}
		if done && r.finish() {
			return
		}
		r.restored()
		r.wait(p)
	}
}

// finish reports whether run ends: nothing is wanted and no flush is waiting.
func (r *Receiver) finish() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wanted) > 0 || len(r.waiting) > 0 {
		return false
	}
	r.running, r.failed, r.down = false, false, false
	return true
}

// endFeeds ends the feeds that have been given up, or all feeds.
func (r *Receiver) endFeeds(all bool) {
	for _, f := range r.feeds {
		if all || f.givenUp() {
			r.end(f, nil)
		}
	}
}

// end closes a feed and waits until nothing more is received.
func (r *Receiver) end(f *Feed, why error) {
	f.giveUp(why)
	f.conn.Close()
	<-f.ended
	delete(r.feeds, f.key)
}

// restored logs that everything works again once the broker has answered on all connections.
func (r *Receiver) restored() {
	back := len(r.feeds) > 0
	for _, f := range r.feeds {
		back = back && f.answered.Load()
	}
	r.mu.Lock()
	back = back && r.down && !r.failed
	r.down = r.down && !back
	r.mu.Unlock()
	if back {
		r.logger.Info("subscriptions restored", "backend", r.backend)
	}
}

// pace holds the timers of run.
type pace struct {
	look  *time.Timer   // next check of the connections
	retry *time.Timer   // next retry
	delay time.Duration // before the retry after the next
}

// wait returns when there is work. After a failure it waits until the next retry, unless a flush is waiting.
func (r *Receiver) wait(p *pace) {
	failed := false
	for {
		select {
		case <-r.wake:
			r.mu.Lock()
			now, urgent := r.failed, len(r.wanted) == 0 || len(r.waiting) > 0
			r.failed = false
			r.mu.Unlock()
			if now {
				failed = true
				p.retry.Reset(p.delay/2 + rand.N(p.delay/2))
				p.delay = min(2*p.delay, maxBackoff)
			}
			if !failed || urgent {
				return
			}
		case <-p.look.C:
			if r.check() {
				p.delay = minBackoff
			}
			p.look.Reset(r.interval / 2)
		case <-p.retry.C:
			return
		}
	}
}

// apply updates the connections for the changed names.
func (r *Receiver) apply(changed map[string]struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), r.interval)
	defer cancel()
	add, remove := make(map[*Feed][]string), make(map[*Feed][]string)
	failed := make(map[string]error) // by key
	for name := range changed {
		r.mu.Lock()
		wanted, f := len(r.wanted[name]) > 0, r.placed[name]
		confirmed := f != nil && f.names[name]
		if f != nil && !wanted {
			delete(f.names, name)
			delete(r.placed, name)
		}
		r.mu.Unlock()
		switch {
		case wanted && confirmed:
			r.tell(name) // a new member may not know yet
		case wanted && f == nil:
			if f = r.place(ctx, name, failed); f != nil {
				add[f] = append(add[f], name)
			}
		case f != nil && !wanted:
			remove[f] = append(remove[f], name)
		}
	}
	for f, names := range remove {
		r.do(f, func(ctx context.Context) error { return f.conn.Unsubscribe(ctx, names) })
	}
	for f, names := range add {
		r.do(f, func(ctx context.Context) error { return f.conn.Subscribe(ctx, names) })
	}
}

// do calls a method of a feed's connection and ends the feed on failure.
func (r *Receiver) do(f *Feed, method func(context.Context) error) {
	if f.givenUp() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.interval)
	defer cancel()
	if err := method(ctx); err != nil {
		r.end(f, err)
	}
}

// place assigns a name to its feed and returns the feed. On failure the name is processed again at the next retry.
// failed holds the keys that could not be opened.
func (r *Receiver) place(ctx context.Context, name string, failed map[string]error) *Feed {
	key, err := r.driver.Locate(ctx, name)
	f := r.feeds[key]
	if err == nil && f == nil {
		if err = failed[key]; err == nil {
			f, err = r.open(ctx, key)
			failed[key] = err
		}
	}
	r.mu.Lock()
	if err == nil && f.givenUp() {
		err = errEnded // its names are already being relocated
	}
	if err == nil {
		f.names[name] = false
		r.placed[name] = f
	} else {
		r.changed[name] = struct{}{}
	}
	r.mu.Unlock()
	if err != nil {
		r.fail(err)
		return nil
	}
	return f
}

func (r *Receiver) open(ctx context.Context, key string) (f *Feed, err error) {
	f = &Feed{r: r, key: key, since: time.Now(), done: make(chan struct{}), ended: make(chan struct{}), names: make(map[string]bool)}
	if f.conn, err = r.driver.Open(ctx, key, f); err != nil {
		return nil, err
	}
	r.feeds[key] = f
	go f.receive()
	return f, nil
}

// check gives up silent feeds, pings the others, and closes feeds without names. It reports whether all feeds have
// existed for a while.
func (r *Receiver) check() (steady bool) {
	steady = len(r.feeds) > 0
	for _, f := range r.feeds {
		switch quiet := f.quiet.Add(1) - 1; {
		case len(f.list(func(bool) bool { return true })) == 0:
			r.end(f, nil)
		case f.busy.Load():
			f.quiet.Store(0)
		case quiet >= maxQuiet:
			r.end(f, errSilent)
		case quiet > 0:
			r.do(f, f.conn.Ping)
		}
		steady = steady && time.Since(f.since) > r.interval
	}
	return steady
}
