package redispubsub

import (
	"context"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/internal/subscribe"
)

// maxNames is the number of channels in one command.
const maxNames = 256

// NewReceiver returns a receiver for channels, ordinary or sharded ones. A name that ends with "*" is a pattern, unless
// channels are sharded.
func NewReceiver(client redis.UniversalClient, sharded bool, o subscribe.Options) *subscribe.Receiver {
	o.Backend = "Redis"
	return subscribe.New(&driver{client: client, sharded: sharded, masters: make(map[string]*redis.Client)}, o)
}

// driver implements subscribe.Driver. Sharded channels of a Redis Cluster are each on the master of their slot, whose
// address is the key of the connection. Otherwise there is one connection.
type driver struct {
	client  redis.UniversalClient
	sharded bool
	masters map[string]*redis.Client // by key
}

// Locate implements subscribe.Driver.
func (d *driver) Locate(ctx context.Context, name string) (key string, err error) {
	cluster, ok := d.client.(*redis.ClusterClient)
	if !ok || !d.sharded {
		return "", nil
	}
	master, err := cluster.MasterForKey(ctx, name)
	if err != nil {
		return "", err
	}
	key = master.Options().Addr
	d.masters[key] = master
	return key, nil
}

// Open implements subscribe.Driver. It does not connect yet.
func (d *driver) Open(ctx context.Context, key string, f *subscribe.Feed) (subscribe.Conn, error) {
	client := d.client
	if key != "" {
		client = d.masters[key]
	}
	c := &conn{driver: d, feed: f, pubsub: client.Subscribe(ctx), begun: make(chan struct{}), leaving: make(map[string]int)}
	c.begin = sync.OnceFunc(func() { close(c.begun) })
	return c, nil
}

// conn implements subscribe.Conn.
type conn struct {
	*driver
	feed   *subscribe.Feed
	pubsub *redis.PubSub
	// begun is closed, by begin, when there is something to receive. The first names say which server of a Redis Cluster
	// to connect to.
	begun chan struct{}
	begin func()

	mu      sync.Mutex
	leaving map[string]int // unsubscriptions that Redis has not confirmed
}

// Subscribe implements subscribe.Conn.
func (c *conn) Subscribe(ctx context.Context, names []string) error {
	defer c.begin()
	return c.each(ctx, names, c.pubsub.Subscribe, c.pubsub.PSubscribe, c.pubsub.SSubscribe)
}

// Unsubscribe implements subscribe.Conn.
func (c *conn) Unsubscribe(ctx context.Context, names []string) error {
	c.mu.Lock()
	for _, name := range names {
		c.leaving[name]++
	}
	c.mu.Unlock()
	return c.each(ctx, names, c.pubsub.Unsubscribe, c.pubsub.PUnsubscribe, c.pubsub.SUnsubscribe)
}

// each calls a command for the names of its kind, some of them at a time. A server of a Redis Cluster takes only sharded
// channels of one slot in a command.
func (c *conn) each(ctx context.Context, names []string, channel, pattern, shard func(context.Context, ...string) error) error {
	var channels, patterns []string
	for _, name := range names {
		if strings.HasSuffix(name, "*") && !c.sharded {
			patterns = append(patterns, name)
		} else {
			channels = append(channels, name)
		}
	}
	size := maxNames
	if c.sharded {
		channel = shard
		if _, ok := c.client.(*redis.ClusterClient); ok {
			size = 1
		}
	}
	for chunk := range slices.Chunk(channels, size) {
		if err := channel(ctx, chunk...); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(patterns, size) {
		if err := pattern(ctx, chunk...); err != nil {
			return err
		}
	}
	return nil
}

// Ping implements subscribe.Conn.
func (c *conn) Ping(ctx context.Context) error { return c.pubsub.Ping(ctx) }

// Close implements subscribe.Conn.
func (c *conn) Close() {
	_ = c.pubsub.Close() // it is of no use any more, whatever it says
	c.begin()
	refresh(context.Background(), c.client)
}

// Receive implements subscribe.Conn.
func (c *conn) Receive() error {
	<-c.begun
	for {
		received, err := c.pubsub.ReceiveTimeout(context.Background(), 0)
		if _, ok := redis.IsMovedError(err); ok {
			refresh(context.Background(), c.client)
			c.feed.Refused()
			continue
		}
		if err != nil {
			return err
		}
		switch m := received.(type) {
		case *redis.Message:
			c.received(m)
		case *redis.Subscription:
			c.subscribed(m)
		}
		c.feed.Heard()
	}
}

func (c *conn) received(m *redis.Message) {
	name := m.Pattern
	if name == "" {
		name = m.Channel
	}
	c.feed.Received(subscribe.Message{
		Name: name, Channel: m.Channel,
		// The client has made a string of a slice that nobody else has: a copy would be one for each message of this node,
		// too, which Redis sends back.
		Payload: unsafe.Slice(unsafe.StringData(m.Payload), len(m.Payload)),
	})
}

// subscribed takes note that a subscription has begun, unless it is about to end, or has ended. When a slot of a Redis
// Cluster moves to another server, subscriptions end unasked.
func (c *conn) subscribed(m *redis.Subscription) {
	begins := strings.HasSuffix(m.Kind, "subscribe") && !strings.HasSuffix(m.Kind, "unsubscribe")
	c.mu.Lock()
	leaving := c.leaving[m.Channel]
	switch {
	case begins:
	case leaving > 1:
		c.leaving[m.Channel]--
	default:
		delete(c.leaving, m.Channel)
	}
	c.mu.Unlock()
	switch {
	case leaving > 0:
	case begins:
		c.feed.Confirmed(m.Channel)
	default:
		refresh(context.Background(), c.client)
		c.feed.Moved(m.Channel)
	}
}
