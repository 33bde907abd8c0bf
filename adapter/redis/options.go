package redis

import (
	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/internal/subscribe"
)

// Options configure the adapters of New. The zero value gives the defaults. Options that nodes must agree on say so.
type Options struct {
	// Key is what the names of all channels begin with. "" means "socket.io". Nodes must agree on it.
	// Node.js: key.
	Key string
	// SpecificResponseChannel sends answers to the node that asked only, instead of to all nodes. Node.js:
	// publishOnSpecificResponseChannel.
	SpecificResponseChannel bool

	// ClusterOptions are those of every adapter for a cluster. Heartbeat is not used.
	adapter.ClusterOptions
}

// SubscriptionMode says which rooms have a channel of their own. Nodes must agree on it.
type SubscriptionMode = adapter.SubscriptionMode

const (
	// Dynamic gives one to each room, except those that are named after a socket.
	Dynamic = adapter.Dynamic
	// DynamicPrivate gives one to each room.
	DynamicPrivate = adapter.DynamicPrivate
	// Static gives none to rooms: each node gets everything.
	Static = adapter.Static
)

// ShardedOptions configure the adapters of NewSharded. The zero value gives the defaults.
type ShardedOptions struct {
	// ChannelPrefix is what the names of all channels begin with. "" means "socket.io". Nodes must agree on
	// it. Node.js: channelPrefix.
	ChannelPrefix string
	// SubscriptionMode says which rooms have a channel of their own. "" means Dynamic. Node.js: subscriptionMode.
	SubscriptionMode SubscriptionMode

	// ClusterOptions are those of every adapter for a cluster. Heartbeat is not used.
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

// New returns a factory for adapters that speak with createAdapter of @socket.io/redis-adapter 8. o may be nil. The
// namespaces of one factory share one connection that receives, apart from those of the client.
func New(client redis.UniversalClient, o *Options) adapter.Factory {
	opts := o.withDefaults()
	r := newReceiver(client, false, &opts.ClusterOptions)
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &opts.ClusterOptions, newClassic(client, r, opts, ns.Name()))
	}
}

// NewSharded returns a factory for adapters that speak with createShardedAdapter of @socket.io/redis-adapter 8. o may
// be nil. It panics if the mode is none. The namespaces of one factory share one connection that receives, on Redis
// Cluster one to each server.
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
