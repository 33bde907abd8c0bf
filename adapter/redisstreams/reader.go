package redisstreams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/myriad-rt/myriad/internal/subscribe"
)

// answerTime is how long Redis may take to answer beyond the time that it may wait.
const answerTime = 5 * time.Second

// reader implements subscribe.Driver. A name is a stream, the name of a namespace and the id of a node's backend, with a
// zero byte between. The key of its connection is the stream, which is read from its present end on. Nodes get the
// entries of their namespace as the Value of a message, and before them a position: from there on they get all of them.
type reader struct {
	client  redis.UniversalClient
	opts    *Options
	cursors map[string]*cursor // by stream
}

// nameOf returns the name that is subscribed to for a backend.
func nameOf(stream, namespace, uid string) string { return stream + "\x00" + namespace + "\x00" + uid }

// splitName returns the stream and the namespace of a name.
func splitName(name string) (stream, namespace string) {
	name = name[:strings.LastIndexByte(name, 0)]
	stream, namespace, _ = strings.Cut(name, "\x00")
	return stream, namespace
}

// cursor is where a stream is read. It outlives connections.
type cursor struct {
	stream string

	mu    sync.Mutex
	names map[string][]string // that are subscribed, by namespace
	at    position            // of the last entry that has been handed over
}

// Locate implements subscribe.Driver.
func (r *reader) Locate(_ context.Context, name string) (key string, err error) {
	key, _ = splitName(name)
	return key, nil
}

// Open implements subscribe.Driver.
func (r *reader) Open(ctx context.Context, stream string, f *subscribe.Feed) (subscribe.Conn, error) {
	line, err := r.connect(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	c := r.cursors[stream]
	if c == nil {
		c = &cursor{stream: stream, names: make(map[string][]string)}
		r.cursors[stream] = c
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &conn{reader: r, cursor: c, feed: f, line: line, located: make(chan struct{}), ctx: ctx, cancel: cancel}, nil
}

// conn implements subscribe.Conn.
type conn struct {
	*reader
	*cursor
	feed    *subscribe.Feed
	line    *redis.Client
	located chan struct{} // closed when the cursor has a position that entries can follow
	ctx     context.Context
	cancel  context.CancelFunc
}

// Subscribe implements subscribe.Conn. The first call has all names that are wanted. If none of them has been read
// before, the position is the present end of the stream.
func (c *conn) Subscribe(ctx context.Context, names []string) error {
	select {
	case <-c.located:
	default:
		left := c.drop(names, false)
		if err := c.locate(ctx, left == 0); err != nil {
			return fmt.Errorf("stream %s: %w", c.stream, err)
		}
		close(c.located)
	}
	c.mu.Lock()
	for _, name := range names {
		if _, namespace := splitName(name); !slices.Contains(c.names[namespace], name) {
			c.names[namespace] = append(slices.Clip(c.names[namespace]), name)
			c.feed.Insert(subscribe.Message{Name: name, Value: c.at})
		}
	}
	c.mu.Unlock()
	for _, name := range names {
		c.feed.Confirmed(name)
	}
	return nil
}

// locate sets the position to the end of the stream if nobody has read from it before, as fresh says, or if it is not the
// stream that it was.
func (c *conn) locate(ctx context.Context, fresh bool) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	newest, err := c.line.XRevRangeN(ctx, c.stream, "+", "-", 1).Result()
	if err != nil {
		return err
	}
	oldest, err := c.line.XRangeN(ctx, c.stream, "-", "+", 1).Result()
	if err != nil {
		return err
	}
	last, first := positionOf(newest), positionOf(oldest)
	c.mu.Lock()
	defer c.mu.Unlock()
	other := last.before(c.at)
	if !fresh && (other || c.at.before(first)) { // or it has been trimmed meanwhile
		c.tellLocked(gap{})
	}
	if fresh || other {
		c.at = last
		c.tellLocked(last)
	}
	return nil
}

// tellLocked has all that have subscribed hear something behind the entries so far.
func (c *conn) tellLocked(value any) {
	for _, names := range c.names {
		for _, name := range names {
			c.feed.Insert(subscribe.Message{Name: name, Value: value})
		}
	}
}

// gap is the Value of a message that stands for entries which are lost.
type gap struct{}

// positionOf returns that of the only entry in a list, or the one before all entries.
func positionOf(list []redis.XMessage) position {
	if len(list) == 0 {
		return position{}
	}
	p, _ := parsePosition(list[0].ID)
	return p
}

// Unsubscribe implements subscribe.Conn.
func (c *conn) Unsubscribe(_ context.Context, names []string) error {
	c.drop(names, true)
	return nil
}

// drop forgets names, or all others if these is false, and returns how many are left.
func (c *cursor) drop(names []string, these bool) (left int) {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for namespace, names := range c.names {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return set[name] == these })
		if c.names[namespace] = names; len(names) == 0 {
			delete(c.names, namespace)
		}
		left += len(names)
	}
	return left
}

// Ping implements subscribe.Conn: Receive gives a connection up that is silent.
func (c *conn) Ping(context.Context) error {
	c.feed.Heard()
	return nil
}

// Close implements subscribe.Conn.
func (c *conn) Close() {
	c.cancel()
	_ = c.line.Close() // a command that waits does not heed the end of its context
	if cluster, ok := c.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(context.Background())
	}
}

// connect returns a client with one connection to the server that has a stream.
func (r *reader) connect(ctx context.Context, stream string) (*redis.Client, error) {
	var server *redis.Client
	var err error
	switch c := r.client.(type) {
	case *redis.Client:
		server = c
	case *redis.ClusterClient:
		server, err = c.MasterForKey(ctx, stream)
	default:
		err = errors.New("redisstreams: unknown kind of client")
	}
	if err != nil {
		return nil, err
	}
	o := *server.Options()
	o.PoolSize, o.MinIdleConns, o.ContextTimeoutEnabled = 1, 0, true
	o.MaxRetries, o.DialerRetries = -1, 1 // the receiver tries again itself
	// What is pushed is for the other client.
	o.PushNotificationProcessor, o.ClientSideCacheConfig, o.ClientSideCache = nil, nil, nil
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(&o), nil
}

// Receive implements subscribe.Conn.
func (c *conn) Receive() error {
	select {
	case <-c.located:
	case <-c.ctx.Done():
	}
	for {
		entries, err := c.next()
		if err != nil {
			return fmt.Errorf("stream %s: %w", c.stream, err)
		}
		c.feed.Heard()
		for i := range entries {
			if !c.handOver(&entries[i]) {
				return c.ctx.Err()
			}
		}
	}
}

// next waits for entries. There may be none.
func (c *conn) next() ([]redis.XMessage, error) {
	c.mu.Lock()
	after := c.at.String()
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.BlockTime+answerTime)
	defer cancel()
	streams, err := c.line.XRead(ctx, &redis.XReadArgs{
		Streams: []string{c.stream, after}, Count: c.opts.ReadCount, Block: c.opts.BlockTime,
	}).Result()
	if errors.Is(err, redis.Nil) {
		// Somebody may have put another stream into the place of this one.
		return nil, c.locate(c.ctx, false)
	}
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	return streams[0].Messages, nil
}

// handOver hands an entry to those who have subscribed to its namespace. It waits until there is room: the stream keeps what
// comes meanwhile. It returns false if the connection is closed before, and the entry is to be read again.
func (c *conn) handOver(m *redis.XMessage) bool {
	e := newEntry(m)
	c.mu.Lock()
	before := c.at
	if before.before(e.at) {
		c.at = e.at
	}
	names := c.names[e.namespace]
	c.mu.Unlock()
	for _, name := range names {
		data := unsafe.Slice(unsafe.StringData(e.data), len(e.data)) // for which it counts
		if !c.feed.Received(subscribe.Message{Name: name, Payload: data, Value: e}) {
			c.mu.Lock()
			c.at = before
			c.mu.Unlock()
			return false
		}
	}
	return true
}
