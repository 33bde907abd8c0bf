package redisstreams

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/emitter"
)

// NewEmitter returns an emitter for the nodes that use New with the same StreamName and StreamCount and for Node.js servers
// that use @socket.io/redis-streams-adapter. It also uses MaxLen and ignores the other options; o may be nil. Every message
// is an entry of the stream, so returning clients receive missed events. Node.js: @socket.io/redis-streams-emitter, which
// does not support StreamCount.
func NewEmitter(client redis.UniversalClient, o *Options) emitter.Emitter {
	opts := o.withDefaults()
	return emitter.New(emitter.PublisherFunc(func(ctx context.Context, m *adapter.Message) error {
		out := adapter.Outgoing{Type: m.Type, Payload: appendData(nil, m)}
		cmd := add(ctx, streamOf(m.Namespace, opts), opts.MaxLen, m.UID, m.Namespace, &out)
		if _, err := redispubsub.Send(ctx, client, []redis.Cmder{cmd}); err != nil {
			return fmt.Errorf("redisstreams: publishing: %w", err)
		}
		return nil
	}))
}
