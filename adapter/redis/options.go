package redis

import (
	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/internal/subscribe"
)

// Options configures the adapters returned by New. The zero value selects the defaults. An option that must be the same on
// all nodes says so.
type Options struct {
	// Key is the prefix of all channel names. "" means "socket.io". It must be the same on all nodes.
	// Node.js: key.
	Key string
	// SpecificResponseChannel sends answers only to the requesting node instead of to all nodes. Node.js:
	// publishOnSpecificResponseChannel.
	SpecificResponseChannel bool

	// ClusterOptions holds the options common to all cluster adapters. Heartbeat is not used.
	adapter.ClusterOptions
}

// SubscriptionMode selects the rooms that have their own channel. It must be the same on all nodes.
type SubscriptionMode = adapter.SubscriptionMode

const (
	// Dynamic uses a channel for each room, except rooms named after a socket.
	Dynamic = adapter.Dynamic
	// DynamicPrivate uses a channel for each room.
	DynamicPrivate = adapter.DynamicPrivate
	// Static uses no channels for rooms: every node receives every message.
	Static = adapter.Static
)

// ShardedOptions configures the adapters returned by NewSharded. The zero value selects the defaults.
type ShardedOptions struct {
	// ChannelPrefix is the prefix of all channel names. "" means "socket.io". It must be the same on all nodes.
	// Node.js: channelPrefix.
	ChannelPrefix string
	// SubscriptionMode selects the rooms that have their own channel. "" means Dynamic. It must be the same on all nodes.
	// Node.js: subscriptionMode.
	SubscriptionMode SubscriptionMode

	// ClusterOptions holds the options common to all cluster adapters. Heartbeat is not used.
	adapter.ClusterOptions
}

const defaultPrefix = "socket.io"

func (o *Options) withDefaults() *Options {
	c := new(Options)
	if o != nil {
		*c = *o
	}
	if c.Key == "" {
		c.Key = defaultPrefix
	}
	c.Heartbeat = nil
	return c
}

func (o *ShardedOptions) withDefaults() *ShardedOptions {
	c := new(ShardedOptions)
	if o != nil {
		*c = *o
	}
	if c.ChannelPrefix == "" {
		c.ChannelPrefix = defaultPrefix
	}
	c.SubscriptionMode = c.SubscriptionMode.WithDefault()
	c.Heartbeat = nil
	return c
}

// New returns a factory for adapters compatible with createAdapter of @socket.io/redis-adapter 8. o may be nil. The
// namespaces of one factory share one receiving connection in addition to the client's connections.
func New(client redis.UniversalClient, o *Options) adapter.Factory {
	opts := o.withDefaults()
	r := newReceiver(client, false, &opts.ClusterOptions)
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &opts.ClusterOptions, newClassic(client, r, opts, ns.Name()))
	}
}

// NewSharded returns a factory for adapters compatible with createShardedAdapter of @socket.io/redis-adapter 8. o may
// be nil. NewSharded panics if the subscription mode is unknown. The namespaces of one factory share one receiving
// connection, or one per server of a Redis Cluster.
func NewSharded(client redis.UniversalClient, o *ShardedOptions) adapter.Factory {
	opts := o.withDefaults()
	r := newReceiver(client, true, &opts.ClusterOptions)
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &opts.ClusterOptions, newSharded(client, r, opts, ns.Name()))
	}
}

func newReceiver(client redis.UniversalClient, sharded bool, o *adapter.ClusterOptions) *subscribe.Receiver {
	return redispubsub.NewReceiver(client, sharded, subscribe.Options{Logger: o.Logger, MaxPendingBytes: o.MaxPendingBytes})
}
