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

// maxNames is the maximum number of channels in one command.
const maxNames = 256

// NewReceiver returns a receiver for ordinary or sharded channels. A name that ends with "*" is a pattern, except for
// sharded channels.
func NewReceiver(client redis.UniversalClient, sharded bool, o subscribe.Options) *subscribe.Receiver {
	o.Backend = "Redis"
	return subscribe.New(&driver{client: client, sharded: sharded, masters: make(map[string]*redis.Client)}, o)
}

// driver implements subscribe.Driver. For sharded channels of a Redis Cluster, there is one connection per master, and its
// key is the master's address. Otherwise there is one connection.
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
	// begin closes begun when the first names have been subscribed. These names select the server of a Redis Cluster, so
	// Receive waits for them.
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

// each calls the command for each kind of name, with a limited number of names per call. In a Redis Cluster, a command
// accepts sharded channels of one slot only.
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
	_ = c.pubsub.Close() // the connection is discarded in any case
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
		// The client does not share the bytes of the string. A copy would also be made for this node's own messages, which
		// Redis sends back.
		Payload: unsafe.Slice(unsafe.StringData(m.Payload), len(m.Payload)),
	})
}

// subscribed reports a confirmed subscription, unless it is about to end, and an unrequested end of a subscription. A
// subscription ends without a request when its slot of a Redis Cluster moves to another server.
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
