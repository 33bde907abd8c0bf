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

	// maxQuiet is the number of looks in a row at which nothing had come since the one before, the last of which gives a
	// connection up. Counting them, instead of looking at the clock, is fair when this process has not run for a while: an
	// answer that is there is read before the next look.
	maxQuiet = 3
	// The time before another try, half of which is left to chance.
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
	// Backend is the word for the broker in the log.
	Backend string
	// Logger is told when subscriptions are lost and when they are back. Nil means slog.Default().
	Logger *slog.Logger
	// MaxPendingBytes bounds what has been received and is not handled yet, for all members. Zero means 64 MiB.
	MaxPendingBytes int
	// Patience is how long a connection waits for room in the queue of a member before messages for it are dropped. Zero
	// means 1 s; negative means that it does not wait.
	Patience time.Duration
	// Interval is twice the time between two looks at whether connections are alive. One that was silent for two of them, to
	// Ping too, is given up. What is asked of a driver may take as long, too. Zero means 5 s.
	Interval time.Duration
}

// Receiver keeps subscriptions up. It is safe for concurrent use.
type Receiver struct {
	driver   Driver
	backend  string
	logger   *slog.Logger
	interval time.Duration
	pool     pool
	wake     chan struct{}
	feeds    map[string]*Feed // by key; of run

	mu      sync.RWMutex
	wanted  map[string][]*Member // by name; the slices are not changed
	placed  map[string]*Feed     // the connection of each name that is subscribed to, or about to be
	changed map[string]struct{}  // names that run has not looked at since they changed
	waiting []chan struct{}      // closed when run has done what it can about changed
	running bool
	failed  bool // something has failed that run has not taken note of
	down    bool // something has failed, and not all works again
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

// members returns who wants a name.
func (r *Receiver) members(name string) []*Member {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.wanted[name]
}

// tell tells those who want a name that it is subscribed to.
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

// flush waits until the broker has been told of all changes so far, if it can be reached, or until ctx ends.
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

// fail has run try again after a while, and logs the first of several failures.
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

// run looks after the connections until nothing is wanted any more.
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

// finish reports whether run ends: nothing is wanted, and nobody waits.
func (r *Receiver) finish() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wanted) > 0 || len(r.waiting) > 0 {
		return false
	}
	r.running, r.failed, r.down = false, false, false
	return true
}

// endFeeds ends the feeds that have been given up, or all.
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

// restored takes note that everything works again, if it does: the broker has answered on all connections.
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

// pace is when run does something by itself.
type pace struct {
	look  *time.Timer   // at the connections
	retry *time.Timer   // what has failed
	delay time.Duration // before the next retry but one
}

// wait returns when there is something to do. After a failure it takes the time to the next try, unless somebody waits.
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

// apply brings the connections in line with what is wanted of the names that have changed.
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
			r.tell(name) // one of them may not know yet
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

// do calls a method of a feed's connection, and ends the feed if that fails.
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

// place puts a name on the feed that it belongs to, and returns that. If it cannot, the name is looked at again at the next
// try. failed has the keys that could not be opened.
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
		err = errEnded // what it had is looked for already
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

// check gives feeds up that are silent, sees to it that the others are not, and closes those that nobody needs. It reports
// whether all have been there for a while.
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
