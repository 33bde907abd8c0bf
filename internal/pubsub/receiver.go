package pubsub

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"
)

const (
	// checkInterval is twice the time between two looks at whether connections are alive. One that was silent for
	// two of them, to PINGs too, is given up. What is asked of Redis meanwhile may take as long, too.
	checkInterval = 5 * time.Second
	// maxQuiet is the number of looks in a row at which nothing had come since the one before, the last of which gives
	// a connection up. Counting them, instead of looking at the clock, is fair when this process has not run for a
	// while: an answer that is there is read before the next look.
	maxQuiet = 3
	// The time before a connection is tried again.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
	// maxNames is the number of channels in one command.
	maxNames = 256
)

var (
	errSilent = errors.New("redis: connection has gone silent")
	errMoved  = errors.New("redis: channel has moved to another server")
)

// Subscription is somebody's interest in a channel, or in all channels that match a pattern.
type Subscription struct {
	Pattern bool
	// Owner is whose it is. Several may subscribe to one name: a namespace and the next of that name, or namespaces with
	// names that begin with each other's.
	Owner any
	// Handle is called with each message, in the order in which they come. It must not block. payload
	// does not change any more.
	Handle func(channel string, payload []byte)
	// Confirmed, if not nil, is called when Redis has confirmed the subscription, each time that it is made, and when others
	// subscribe to the name. It must not block.
	Confirmed func()
	// Lost, if not nil, is called when messages may have been lost.
	Lost func()
}

// Receiver keeps subscriptions up. While there are any, one goroutine, run, looks after the connections, and
// each of them, a feed, has one that reads. A Receiver whose last subscription is gone holds nothing.
type Receiver struct {
	client  redis.UniversalClient
	sharded bool
	logger  *slog.Logger
	// interval is checkInterval. Tests have less time.
	interval time.Duration

	wake  chan struct{}
	fails chan failure

	mu      sync.RWMutex
	wanted  map[string][]*Subscription // the slices are not changed
	changed map[string]struct{}        // names that run has not looked at since they changed
	waiting []chan struct{}            // closed when run has done what it can about changed
	running bool
}

// failure says that a feed is of no use any more.
type failure struct {
	feed *feed
	err  error
}

// NewReceiver returns a receiver without subscriptions, to ordinary channels or sharded ones. logger is told when the
// connection is lost and when it is back; nil means slog.Default().
func NewReceiver(client redis.UniversalClient, sharded bool, logger *slog.Logger) *Receiver {
	if logger == nil {
		logger = slog.Default()
	}
	return &Receiver{
		client: client, sharded: sharded, logger: logger, interval: checkInterval,
		wake: make(chan struct{}, 1), fails: make(chan failure),
		wanted: make(map[string][]*Subscription), changed: make(map[string]struct{}),
	}
}

// Subscribe makes s be called with what is published under a name, soon, in place of what its owner has subscribed there. It
// does not block.
func (r *Receiver) Subscribe(name string, s *Subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted[name] = append(r.withoutLocked(name, s.Owner), s)
	r.changeLocked(name)
}

// Unsubscribe ends the subscriptions of owner to names at once.
func (r *Receiver) Unsubscribe(owner any, names ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if len(r.wanted[name]) == 0 {
			continue
		}
		if rest := r.withoutLocked(name, owner); len(rest) > 0 {
			r.wanted[name] = rest
			continue
		}
		delete(r.wanted, name)
		r.changeLocked(name)
	}
}

// withoutLocked returns the subscriptions to a name that are others' than owner's.
func (r *Receiver) withoutLocked(name string, owner any) []*Subscription {
	return slices.DeleteFunc(slices.Clone(r.wanted[name]), func(s *Subscription) bool { return s.Owner == owner })
}

// subscribed returns who is interested in a name.
func (r *Receiver) subscribed(name string) []*Subscription {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.wanted[name]
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

// Flush waits until Redis has been told of all changes so far, if it can be reached, or until ctx ends.
func (r *Receiver) Flush(ctx context.Context) error {
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

// handle passes a message on to those who want it.
func (r *Receiver) handle(m *redis.Message) {
	name := m.Pattern
	if name == "" {
		name = m.Channel
	}
	for _, s := range r.subscribed(name) {
		// The client has made a string of a slice that nobody else has: a copy would be one for each message of this node, too,
		// which Redis sends back.
		s.Handle(m.Channel, unsafe.Slice(unsafe.StringData(m.Payload), len(m.Payload)))
	}
}

// feed is a connection that receives.
type feed struct {
	key    string
	pubsub *redis.PubSub
	cancel context.CancelFunc
	ended  chan struct{} // closed when reading has ended
	quiet  atomic.Int32  // looks since something has come
	since  time.Time
	// answered is set when the server has sent something.
	answered atomic.Bool

	mu      sync.Mutex
	names   map[string]bool // and whether the server has confirmed them
	leaving map[string]int  // unsubscriptions that it has not confirmed
	moved   []string        // channels that it does not have any more
}

// keeper is what run knows.
type keeper struct {
	*Receiver
	feeds  map[string]*feed
	placed map[string]*feed // by name
	down   bool             // a feed has failed, and they do not all work again
	delay  time.Duration    // before the next try
	retry  *time.Timer      // the next try
	look   *time.Timer      // the next look at the connections
}

// run looks after the connections until nothing is wanted any more.
func (r *Receiver) run() {
	k := &keeper{Receiver: r, feeds: make(map[string]*feed), placed: make(map[string]*feed), delay: minBackoff}
	k.look = time.NewTimer(r.interval / 2)
	defer k.look.Stop()
	k.retry = time.NewTimer(r.interval)
	defer k.retry.Stop()
	for {
		changed, waiting, done := r.takeChanges()
		err := k.apply(changed)
		if err != nil {
			k.fail(err)
			k.retry.Reset(k.backOff())
		} else {
			k.works()
			k.retry.Stop()
		}
		if done {
			for _, f := range k.feeds {
				f.close()
			}
			r.ended(waiting)
			return
		}
		for _, w := range waiting {
			close(w)
		}
		k.wait(err != nil)
	}
}

// backOff returns the time to the next try, which is longer each time.
func (k *keeper) backOff() time.Duration {
	delay := k.delay
	k.delay = min(2*k.delay, maxBackoff)
	return delay
}

// works takes note that Redis has answered on all connections, if it has.
func (k *keeper) works() {
	for _, f := range k.feeds {
		if !f.answered.Load() {
			return
		}
	}
	if k.down && len(k.feeds) > 0 {
		k.down = false
		k.logger.Info("subscribed to Redis again")
	}
}

// takeChanges returns the names to look at. done says that there will be nothing more to do.
func (r *Receiver) takeChanges() (changed map[string]struct{}, waiting []chan struct{}, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed, r.changed = r.changed, make(map[string]struct{})
	waiting, r.waiting = r.waiting, nil
	return changed, waiting, len(r.wanted) == 0
}

// ended is the last act of run, after which another one may begin.
func (r *Receiver) ended(waiting []chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range append(waiting, r.waiting...) {
		close(w)
	}
	r.waiting = nil
	r.running = len(r.wanted) > 0
	if !r.running {
		return
	}
	for name := range r.wanted {
		r.changed[name] = struct{}{}
	}
	go r.run()
}

// wait returns when there is something to do. After a failure, which failed says, it takes the time to the next try,
// unless somebody waits. Meanwhile it looks after the connections.
func (k *keeper) wait(failed bool) {
	for {
		dropped := false
		select {
		case <-k.wake:
			if dropped = k.follow(); !dropped && (!failed || k.urgent()) {
				return
			}
		case f := <-k.fails:
			k.drop(f.feed, f.err)
			dropped = true
		case <-k.look.C:
			dropped = k.check()
			k.look.Reset(k.interval / 2)
		case <-k.retry.C:
			return
		}
		if dropped {
			k.retry.Reset(k.backOff())
			failed = true
		}
	}
}

func (r *Receiver) urgent() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.wanted) == 0 || len(r.waiting) > 0
}

// apply brings the connections in line with what is wanted of the names that have changed.
func (k *keeper) apply(changed map[string]struct{}) error {
	add, remove := make(map[*feed][]string), make(map[*feed][]string)
	var errs []error
	for name := range changed {
		wanted, f := len(k.subscribed(name)) > 0, k.placed[name]
		switch {
		case wanted && f == nil:
			f, err := k.place(name)
			if err != nil {
				k.lookAgain(name)
				errs = append(errs, err)
				continue
			}
			add[f] = append(add[f], name)
		case !wanted && f != nil:
			remove[f] = append(remove[f], name)
		case wanted && f.has(name):
			k.confirmed(name) // which one of them does not know
		}
	}
	for f, names := range remove {
		k.remove(f, names)
	}
	for f, names := range add {
		if err := k.add(f, names); err != nil {
			k.drop(f, err)
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}

// lookAgain has the next round look at a name again.
func (k *keeper) lookAgain(name string) {
	k.mu.Lock()
	k.changed[name] = struct{}{}
	k.mu.Unlock()
}

// place returns the feed for a name.
func (k *keeper) place(name string) (*feed, error) {
	ctx, cancel := context.WithTimeout(context.Background(), k.interval)
	defer cancel()
	key, client := "", k.client
	if cluster, ok := k.client.(*redis.ClusterClient); ok && k.sharded {
		master, err := cluster.MasterForKey(ctx, name)
		if err != nil {
			return nil, err
		}
		key, client = master.Options().Addr, master
	}
	f := k.feeds[key]
	if f == nil {
		f = &feed{
			key: key, ended: make(chan struct{}),
			names: make(map[string]bool), leaving: make(map[string]int),
		}
		f.pubsub = client.Subscribe(ctx) // to nothing: it does not connect yet
		k.feeds[key] = f
	}
	return f, nil
}

// add subscribes f to names. Reading begins with the first of them.
func (k *keeper) add(f *feed, names []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), k.interval)
	defer cancel()
	var channels, patterns []string
	for _, name := range names {
		f.mu.Lock()
		f.names[name] = false
		f.mu.Unlock()
		k.placed[name] = f
		if s := k.subscribed(name); len(s) > 0 && s[0].Pattern {
			patterns = append(patterns, name)
		} else {
			channels = append(channels, name)
		}
	}
	subscribe := f.pubsub.Subscribe
	if k.sharded {
		subscribe = f.pubsub.SSubscribe
	}
	err := inChunks(ctx, f, channels, subscribe)
	if err == nil {
		err = inChunks(ctx, f, patterns, f.pubsub.PSubscribe)
	}
	if err == nil && f.cancel == nil {
		f.since = time.Now()
		ctx, cancel := context.WithCancel(context.Background())
		f.cancel = cancel
		go k.read(ctx, f)
	}
	return err
}

// inChunks calls do with some names at a time. A server of a Redis Cluster takes only names of one slot in a command.
func inChunks(ctx context.Context, f *feed, names []string, do func(context.Context, ...string) error) error {
	size := maxNames
	if f.key != "" {
		size = 1
	}
	for chunk := range slices.Chunk(names, size) {
		if err := do(ctx, chunk...); err != nil {
			return err
		}
	}
	return nil
}

// remove ends the subscriptions of f to names. If Redis does not hear of it, the connection is about to
// fail anyway.
func (k *keeper) remove(f *feed, names []string) {
	ctx, cancel := context.WithTimeout(context.Background(), k.interval)
	defer cancel()
	var channels, patterns []string
	f.mu.Lock()
	for _, name := range names {
		delete(f.names, name)
		delete(k.placed, name)
		f.leaving[name]++
		if !k.sharded && name[len(name)-1] == '*' {
			patterns = append(patterns, name)
		} else {
			channels = append(channels, name)
		}
	}
	f.mu.Unlock()
	unsubscribe := f.pubsub.Unsubscribe
	if k.sharded {
		unsubscribe = f.pubsub.SUnsubscribe
	}
	_ = inChunks(ctx, f, channels, unsubscribe)
	_ = inChunks(ctx, f, patterns, f.pubsub.PUnsubscribe)
}

// read passes on what f receives until it fails or is closed.
func (k *keeper) read(ctx context.Context, f *feed) {
	err := k.receive(ctx, f)
	close(f.ended)
	select {
	case k.fails <- failure{f, err}:
	case <-ctx.Done():
	}
}

func (k *keeper) receive(ctx context.Context, f *feed) error {
	for {
		received, err := f.pubsub.ReceiveTimeout(ctx, 0)
		if _, ok := redis.IsMovedError(err); ok {
			f.refused()
			k.wakeUp()
			continue
		}
		if err != nil {
			return err
		}
		f.quiet.Store(0)
		if !f.answered.Swap(true) {
			k.wakeUp()
		}
		switch m := received.(type) {
		case *redis.Message:
			k.handle(m)
		case *redis.Subscription:
			switch m.Kind {
			case "subscribe", "psubscribe", "ssubscribe":
				if f.begins(m.Channel) {
					k.confirmed(m.Channel)
				}
			default:
				if !f.ends(m.Channel) {
					k.wakeUp()
				}
			}
		}
	}
}

// confirmed passes on that a subscription has begun.
func (k *keeper) confirmed(name string) {
	for _, s := range k.subscribed(name) {
		if s.Confirmed != nil {
			s.Confirmed()
		}
	}
}

// begins takes note that the server has confirmed a subscription, and reports whether it is not about to end.
func (f *feed) begins(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.names[name]; !ok || f.leaving[name] > 0 {
		return false
	}
	f.names[name] = true
	return true
}

// has reports whether the server has confirmed a subscription.
func (f *feed) has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names[name]
}

// ends takes note that a subscription has ended, and reports whether it was to. When a slot of a Redis Cluster moves to
// another server, subscriptions end unasked.
func (f *feed) ends(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leaving[name]--; f.leaving[name] > 0 {
		return true
	}
	asked := f.leaving[name] == 0
	delete(f.leaving, name)
	if !asked {
		if f.names[name] {
			f.names[name] = false
		}
		f.moved = append(f.moved, name)
	}
	return asked
}

// check gives feeds up that are silent, and sees to it that the others are not. It reports whether it has given any up.
func (k *keeper) check() (dropped bool) {
	ctx, cancel := context.WithTimeout(context.Background(), k.interval)
	defer cancel()
	for _, f := range slices.Collect(maps.Values(k.feeds)) {
		var err error
		switch quiet := f.quiet.Add(1) - 1; {
		case quiet >= maxQuiet:
			err = errSilent
		case quiet > 0:
			err = f.pubsub.Ping(ctx)
		}
		switch {
		case err != nil:
			k.drop(f, err)
			dropped = true
		case time.Since(f.since) > k.interval:
			k.delay = minBackoff
		}
	}
	return dropped
}

// drop gives f up and sees to it that what it was subscribed to will be looked at again.
func (k *keeper) drop(f *feed, err error) {
	if k.feeds[f.key] != f {
		return
	}
	delete(k.feeds, f.key)
	f.close()
	k.displace(f, slices.Collect(maps.Keys(f.names)), err) // nobody reads from it any more
}

// follow sees to it that channels which have moved to another server of a Redis Cluster will be looked at again. The others
// of their feed are not touched. It reports whether there are any.
func (k *keeper) follow() bool {
	some := false
	for _, f := range k.feeds {
		f.mu.Lock()
		names := f.moved
		f.moved = nil
		f.mu.Unlock()
		if len(names) > 0 {
			k.displace(f, names, errMoved)
			some = true
		}
	}
	return some
}

// refused takes note that the server, which the client has taken for the one of a channel, has said that another one has it. It
// does not say which channel, but it is one that it has not confirmed. The others of the feed are not to suffer from that.
func (f *feed) refused() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, confirmed := range f.names {
		if !confirmed {
			f.moved = append(f.moved, name)
		}
	}
}

// displace takes note that f does not receive some of its names any more.
func (k *keeper) displace(f *feed, names []string, err error) {
	k.fail(err)
	refresh(context.Background(), k.client)
	var lost []func()
	f.mu.Lock()
	for _, name := range names {
		delete(f.names, name)
	}
	f.mu.Unlock()
	k.mu.Lock()
	for _, name := range names {
		if k.placed[name] != f {
			continue
		}
		delete(k.placed, name)
		k.changed[name] = struct{}{}
		for _, s := range k.wanted[name] {
			if s.Lost != nil && f.answered.Load() {
				lost = append(lost, s.Lost)
			}
		}
	}
	k.mu.Unlock()
	for _, report := range lost {
		report()
	}
}

// fail logs the first of several failures.
func (k *keeper) fail(err error) {
	if !k.down {
		k.down = true
		k.logger.Warn("subscription to Redis lost", "err", err)
	}
}

// close ends f and waits until nothing more is read from it.
func (f *feed) close() {
	if f.cancel != nil {
		f.cancel()
	}
	_ = f.pubsub.Close() // it is of no use any more, whatever it says
	if f.cancel != nil {
		<-f.ended
	}
}
