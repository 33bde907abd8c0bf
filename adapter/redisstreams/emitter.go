package redisstreams

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/emitter"
)

// NewEmitter returns an emitter that reaches the nodes of New with the same StreamName and StreamCount, and those of
// Node.js that use createAdapter of @socket.io/redis-streams-adapter. Of the options, beside these only MaxLen matters; o
// may be nil. Everything is an entry of the stream, so that clients that come back get what they have missed. Node.js:
// @socket.io/redis-streams-emitter, which knows no StreamCount.
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
