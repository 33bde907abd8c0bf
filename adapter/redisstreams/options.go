package redisstreams

import (
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/internal/subscribe"
)

// Options configures the adapters returned by New. The zero value selects the defaults. An option that must be the same on
// all nodes says so.
type Options struct {
	// StreamName is the key of the stream. "" means "socket.io". It must be the same on all nodes. Node.js: streamName.
	StreamName string
	// StreamCount is the number of streams shared by the namespaces. With more than one, the keys are StreamName, "-"
	// and a number. Zero means 1. It must be the same on all nodes. Node.js: streamCount.
	StreamCount int
	// MaxLen is the approximate number of entries that a stream keeps. It limits the number of events that a returning
	// client can have missed, over all namespaces of the stream. Zero means 10,000. Node.js: maxLen.
	MaxLen int64
	// ReadCount is the maximum number of entries per read. Zero means 100. Node.js: readCount.
	ReadCount int64
	// BlockTime is the maximum time that a read waits in Redis for an entry. Zero means 5 s. Node.js: blockTimeInMs.
	BlockTime time.Duration
	// ChannelPrefix is the prefix of all channel names. "" means "socket.io". It must be the same on all nodes.
	// Node.js: channelPrefix.
	ChannelPrefix string
	// ShardedPubSub enables the sharded publish/subscribe of Redis 7. It must be the same on all nodes. Node.js:
	// useShardedPubSub.
	ShardedPubSub bool
	// SessionKeyPrefix is the prefix of session keys. "" means "sio:session:". It must be the same on all nodes.
	// Node.js: sessionKeyPrefix.
	SessionKeyPrefix string

	// ClusterOptions holds the options common to all cluster adapters. Heartbeat is not used.
	adapter.ClusterOptions
}

func (o *Options) withDefaults() *Options {
	c := new(Options)
	if o != nil {
		*c = *o
	}
	if c.StreamName == "" {
		c.StreamName = "socket.io"
	}
	if c.StreamCount <= 0 {
		c.StreamCount = 1
	}
	if c.MaxLen <= 0 {
		c.MaxLen = 10_000
	}
	if c.ReadCount <= 0 {
		c.ReadCount = 100
	}
	if c.BlockTime <= 0 {
		c.BlockTime = 5 * time.Second
	}
	if c.ChannelPrefix == "" {
		c.ChannelPrefix = "socket.io"
	}
	if c.SessionKeyPrefix == "" {
		c.SessionKeyPrefix = "sio:session:"
	}
	c.Heartbeat = nil
	return c
}

// New returns a factory for adapters compatible with createAdapter of @socket.io/redis-streams-adapter 0.3. o may be nil.
// The namespaces of one factory share one connection per stream and one for channels, in addition to the client's
// connections.
func New(client redis.UniversalClient, o *Options) adapter.Factory {
	f := newFactory(client, o.withDefaults())
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &f.opts.ClusterOptions, newBackend(f, ns.Name()))
	}
}

// factory holds the state shared by the namespaces of one factory.
type factory struct {
	client            redis.UniversalClient
	opts              *Options
	streams, channels *subscribe.Receiver
}

func newFactory(client redis.UniversalClient, o *Options) *factory {
	f := &factory{client: client, opts: o}
	r := subscribe.Options{Logger: o.Logger, MaxPendingBytes: o.MaxPendingBytes}
	f.channels = redispubsub.NewReceiver(client, o.ShardedPubSub, r)
	r.Backend, r.Patience = "Redis streams", math.MaxInt64 // unread entries stay in the stream
	f.streams = subscribe.New(&reader{client: client, opts: o, cursors: make(map[string]*cursor)}, r)
	return f
}
