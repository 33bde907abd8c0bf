package redis

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/emitter"
)

// Commands that publish a message.
const (
	publishCommand        = "publish"
	shardedPublishCommand = "spublish"
)

// NewEmitter returns an emitter for the nodes that use New with the same Key and for Node.js servers that use
// createAdapter. The other options are ignored; o may be nil. Node.js: @socket.io/redis-emitter.
func NewEmitter(client redis.UniversalClient, o *Options) emitter.Emitter {
	key := o.withDefaults().Key
	return newEmitter(client, publishCommand, func(m *adapter.Message) adapter.Outgoing {
		c := newChannels(key, m.Namespace, false)
		return c.encode(m)
	})
}

// NewShardedEmitter returns an emitter for the nodes that use NewSharded with the same ChannelPrefix and SubscriptionMode
// and for Node.js servers that use createShardedAdapter. The other options are ignored; o may be nil. Node.js has no
// equivalent.
func NewShardedEmitter(client redis.UniversalClient, o *ShardedOptions) emitter.Emitter {
	opts := o.withDefaults()
	return newEmitter(client, shardedPublishCommand, func(m *adapter.Message) adapter.Outgoing {
		c := newShardedChannels(opts, m.Namespace)
		return c.encode(m)
	})
}

func newEmitter(client redis.UniversalClient, command string, encode func(*adapter.Message) adapter.Outgoing) emitter.Emitter {
	return emitter.New(emitter.PublisherFunc(func(ctx context.Context, m *adapter.Message) error {
		if _, err := redispubsub.Publish(ctx, client, command, []adapter.Outgoing{encode(m)}); err != nil {
			return fmt.Errorf("redis: publishing: %w", err)
		}
		return nil
	}))
}
