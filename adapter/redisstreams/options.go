package redisstreams

import (
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/internal/subscribe"
)

// Options configure the adapters of New. The zero value gives the defaults. Options that nodes must agree on say so.
type Options struct {
	// StreamName is the key of the stream. "" means "socket.io". Nodes must agree on it. Node.js: streamName.
	StreamName string
	// StreamCount is the number of streams that namespaces are spread over; with more than one, their keys are
	// StreamName, "-" and a number. Zero means 1. Nodes must agree on it. Node.js: streamCount.
	StreamCount int
	// MaxLen is how many entries a stream keeps, or somewhat more. It bounds what clients that come back can have
	// missed, in all namespaces of the stream. Zero means 10,000. Node.js: maxLen.
	MaxLen int64
	// ReadCount is how many entries are read at once. Zero means 100. Node.js: readCount.
	ReadCount int64
	// BlockTime is how long Redis may wait for an entry before it says that there is none. Zero means 5 s.
	// Node.js: blockTimeInMs.
	BlockTime time.Duration
	// ChannelPrefix is what the names of all channels begin with. "" means "socket.io". Nodes must agree on it.
	// Node.js: channelPrefix.
	ChannelPrefix string
	// ShardedPubSub uses the sharded publish/subscribe of Redis 7. Nodes must agree on it. Node.js:
	// useShardedPubSub.
	ShardedPubSub bool
	// SessionKeyPrefix is what the keys of sessions begin with. "" means "sio:session:". Nodes must agree on it.
	// Node.js: sessionKeyPrefix.
	SessionKeyPrefix string

	// ClusterOptions are those of every adapter for a cluster. Heartbeat is not used.
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

// New returns a factory for adapters that speak with createAdapter of @socket.io/redis-streams-adapter 0.3. o may be
// nil. The namespaces of one factory share one connection to each stream that they use and one for channels, apart from
// those of the client.
func New(client redis.UniversalClient, o *Options) adapter.Factory {
	f := newFactory(client, o.withDefaults())
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &f.opts.ClusterOptions, newBackend(f, ns.Name()))
	}
}

// factory is what the namespaces of one process share.
type factory struct {
	client            redis.UniversalClient
	opts              *Options
	streams, channels *subscribe.Receiver
}

func newFactory(client redis.UniversalClient, o *Options) *factory {
	f := &factory{client: client, opts: o}
	r := subscribe.Options{Logger: o.Logger, MaxPendingBytes: o.MaxPendingBytes}
	f.channels = redispubsub.NewReceiver(client, o.ShardedPubSub, r)
	r.Backend, r.Patience = "Redis streams", math.MaxInt64 // a stream keeps what there is no room for
	f.streams = subscribe.New(&reader{client: client, opts: o, cursors: make(map[string]*cursor)}, r)
	return f
}
