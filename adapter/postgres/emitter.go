package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/emitter"
)

// NewEmitter returns an emitter for the nodes that use New with the same ChannelPrefix and TableName and for Node.js servers
// that use @socket.io/postgres-adapter. It also uses PayloadThreshold and ignores the other options; o may be nil. Node.js:
// @socket.io/postgres-emitter.
func NewEmitter(p *pgxpool.Pool, o *Options) emitter.Emitter {
	s := newSender(&pool{Pool: p}, o.withDefaults())
	return emitter.New(emitter.PublisherFunc(func(ctx context.Context, m *adapter.Message) error {
		channel, err := s.opts.channel(m.Namespace)
		if err != nil {
			return err
		}
		_, err = s.publish(ctx, []adapter.Outgoing{s.encode(m, channel)})
		return err
	}))
}
