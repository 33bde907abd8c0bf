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

// answerTime is the time that Redis has to answer, in addition to the time that it may block.
const answerTime = 5 * time.Second

// reader implements subscribe.Driver. A name consists of a stream, a namespace and the id of a node, separated by zero
// bytes. There is one connection per stream, and its key is the stream. The stream is read from its current end. Each node
// first receives a position and then every later entry of its namespace, as the Value of a message.
type reader struct {
	client  redis.UniversalClient
	opts    *Options
	cursors map[string]*cursor // by stream
}

// nameOf returns the name that a backend subscribes to.
func nameOf(stream, namespace, uid string) string { return stream + "\x00" + namespace + "\x00" + uid }

// splitName returns the stream and the namespace of a name.
func splitName(name string) (stream, namespace string) {
	name = name[:strings.LastIndexByte(name, 0)]
	stream, namespace, _ = strings.Cut(name, "\x00")
	return stream, namespace
}

// cursor is the read position in a stream. It outlives connections.
type cursor struct {
	stream string

	mu    sync.Mutex
	names map[string][]string // subscribed names, by namespace
	at    position            // the position of the last entry passed on
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
	located chan struct{} // closed when the cursor has a valid position
	ctx     context.Context
	cancel  context.CancelFunc
}

// Subscribe implements subscribe.Conn. The first call has all wanted names. If none of them is being read yet, reading
// begins at the current end of the stream.
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

// locate sets the position to the end of the stream if fresh is true or if the stream has been replaced. It announces a gap
// if entries were lost.
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

// tellLocked sends value to all subscribers, after the entries so far.
func (c *conn) tellLocked(value any) {
	for _, names := range c.names {
		for _, name := range names {
			c.feed.Insert(subscribe.Message{Name: name, Value: value})
		}
	}
}

// gap is the Value of a message that announces lost entries.
type gap struct{}

// positionOf returns the position of the only entry in list, or the position before all entries if list is empty.
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

// drop removes names, or all other names if these is false. It returns the number of remaining names.
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

// Ping implements subscribe.Conn. It sends nothing, because Receive detects a silent connection.
func (c *conn) Ping(context.Context) error {
	c.feed.Heard()
	return nil
}

// Close implements subscribe.Conn.
func (c *conn) Close() {
	c.cancel()
	_ = c.line.Close() // canceling the context does not interrupt a blocked command
	if cluster, ok := c.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(context.Background())
	}
}

// connect returns a client with one connection to the server of a stream.
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
	o.MaxRetries, o.DialerRetries = -1, 1 // the receiver retries
	// Push notifications are for the application's client.
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

// next waits for entries. It returns none when BlockTime has passed without one.
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
		// The stream may have been replaced.
		return nil, c.locate(c.ctx, false)
	}
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	return streams[0].Messages, nil
}

// handOver passes an entry to the subscribers of its namespace. It waits for room; newer entries stay in the stream. If the
// connection is closed first, handOver returns false and the entry is read again later.
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
		data := unsafe.Slice(unsafe.StringData(e.data), len(e.data)) // sets the size of the message
		if !c.feed.Received(subscribe.Message{Name: name, Payload: data, Value: e}) {
			c.mu.Lock()
			c.at = before
			c.mu.Unlock()
			return false
		}
	}
	return true
}
