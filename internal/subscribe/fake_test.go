package subscribe

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myriad-rt/myriad/adapter/adaptertest"
)

// broker is a driver that simulates faults. Its zero value confirms everything.
type broker struct {
	mu      sync.Mutex
	refuses error                  // from Open
	holds   bool                   // subscriptions are not confirmed
	mute    bool                   // Ping is not answered
	hangs   chan struct{}          // Close waits for it, if not nil
	keys    map[string]string      // by name; "" if there is none
	opened  []time.Time            // when Open was called
	conns   map[string]*connection // by key
}

var errBroker = errors.New("broken")

// set changes a broker.
func (b *broker) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *broker) Locate(_ context.Context, name string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys[name], nil
}

func (b *broker) Open(_ context.Context, key string, f *Feed) (Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened = append(b.opened, time.Now())
	if b.refuses != nil {
		return nil, b.refuses
	}
	c := &connection{broker: b, feed: f, names: make(map[string]bool), fails: make(chan error, 1)}
	if b.conns == nil {
		b.conns = make(map[string]*connection)
	}
	b.conns[key] = c
	return c, nil
}

// conn returns the connection with a key.
func (b *broker) conn(key string) *connection {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conns[key]
}

// connection is a connection to a broker.
type connection struct {
	*broker
	feed   *Feed
	names  map[string]bool
	fails  chan error
	closed bool
}

func (c *connection) Receive() error { return <-c.fails }

func (c *connection) Subscribe(_ context.Context, names []string) error {
	c.mu.Lock()
	holds := c.holds
	for _, name := range names {
		c.names[name] = true
	}
	c.mu.Unlock()
	for _, name := range names {
		if !holds {
			c.feed.Confirmed(name)
		}
	}
	return nil
}

func (c *connection) Unsubscribe(_ context.Context, names []string) error {
	c.set(func() {
		for _, name := range names {
			delete(c.names, name)
		}
	})
	return nil
}

func (c *connection) Ping(context.Context) error {
	c.mu.Lock()
	mute := c.mute
	c.mu.Unlock()
	if !mute {
		c.feed.Heard()
	}
	return nil
}

func (c *connection) Close() {
	c.mu.Lock()
	c.closed = true
	hangs := c.hangs
	c.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	c.fails <- nil
}

// has returns the subscribed names, sorted.
func (c *connection) has() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.names))
}

// owner counts its calls.
type owner struct {
	mu                       sync.Mutex
	connected, lost, dropped int
	got                      []string
	on                       func() // is called by each method and by the handler, if not nil
}

func (o *owner) count(n *int, by int) {
	o.mu.Lock()
	*n += by
	o.mu.Unlock()
	if o.on != nil {
		o.on()
	}
}

func (o *owner) IsOwn(payload []byte) bool { return string(payload) == "own" }
func (o *owner) Connected()                { o.count(&o.connected, 1) }
func (o *owner) Lost()                     { o.count(&o.lost, 1) }
func (o *owner) Dropped(n int)             { o.count(&o.dropped, n) }

func (o *owner) handle(batch []Message) {
	for i := range batch {
		o.mu.Lock()
		o.got = append(o.got, batch[i].Name+" "+string(batch[i].Payload))
		o.mu.Unlock()
		if o.on != nil {
			o.on()
		}
	}
}

// fixture is a receiver on a broker, in a bubble.
type fixture struct {
	*testing.T
	*broker
	*Receiver
	log adaptertest.Log
}

// run runs a test in a bubble.
func run(t *testing.T, test func(f *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{T: t, broker: new(broker)}
		f.Receiver = New(f.broker, Options{Backend: "fake", Logger: f.log.Logger()})
		test(f)
	})
}

// join returns a member that has joined.
func (f *fixture) join(last string, first ...string) (*Member, *owner) {
	o := new(owner)
	m := f.NewMember(o.handle)
	m.Join(o, last, first...)
	synctest.Wait()
	return m, o
}

// pass lets time pass.
func (f *fixture) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// close closes a member within the time-out.
func (f *fixture) close(m *Member) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		f.Error(err)
	}
}

func (f *fixture) expect(what string, got, want any) {
	f.Helper()
	if g, ok := got.([]string); ok && slices.Equal(g, want.([]string)) {
		return
	}
	if _, ok := got.([]string); ok || got != want {
		f.Errorf("%s: got %v, want %v", what, got, want)
	}
}
