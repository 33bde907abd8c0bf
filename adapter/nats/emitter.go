package nats

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/emitter"
)

// NewEmitter returns an emitter for the nodes that use New with the same Prefix and SubscriptionMode. The other options are
// ignored; o may be nil. NewEmitter panics if New would.
//
// Operations wait for the server to confirm. If it does not confirm in time, for example because the connection is down, the
// message may still be sent later from the client's buffer of nats.ReconnectBufSize bytes.
func NewEmitter(conn *nats.Conn, o *Options) emitter.Emitter {
	opts := o.withDefaults()
	var mu sync.Mutex
	p := newPublisher(conn)
	publish := func(ctx context.Context, subject string, payload []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return p.publish(subject, payload)
	}
	return emitter.New(emitter.PublisherFunc(func(ctx context.Context, m *adapter.Message) error {
		payload, err := encode(m)
		if err != nil {
			return err
		}
		subject := newSubjects(opts.Prefix, m.Namespace, opts.SubscriptionMode).of(m)
		return wrap(within(ctx, func() error {
			if err := publish(ctx, subject, payload); err != nil {
				return err
			}
			return conn.FlushWithContext(ctx)
		}))
	}))
}
