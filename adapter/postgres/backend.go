package postgres

import (
	"context"
	"fmt"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/subscribe"
)

// backend is the backend of a namespace.
type backend struct {
	*sender
	member *subscribe.Member
	node   adapter.Node

	channel string
	invalid error           // non-nil if channel is not a valid name
	fetch   string          // the statement that fetches attachments
	ctx     context.Context // canceled by Close
	stop    context.CancelFunc
}

func newBackend(p *pool, r *subscribe.Receiver, o *Options, namespace string) *backend {
	b := &backend{sender: newSender(p, o)}
	b.channel, b.invalid = o.channel(namespace)
	b.fetch = fmt.Sprintf("SELECT id, CASE WHEN octet_length(payload) <= %d THEN payload END FROM %s WHERE id = ANY($1)",
		adapter.MaxMessageBytes, o.TableName)
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.member = r.NewMember(b.handle)
	return b
}

// Start implements adapter.Backend.
func (b *backend) Start(n adapter.Node) {
	b.node, b.uid = n, n.UID()
	if b.invalid == nil {
		b.member.Join(n, b.channel)
	}
}

// Encode implements adapter.Backend. All messages of a namespace use one channel.
func (b *backend) Encode(m *adapter.Message) (adapter.Outgoing, error) {
	if b.invalid != nil {
		return adapter.Outgoing{}, b.invalid
	}
	return b.encode(m, b.channel), nil
}

// Publish implements adapter.Backend.
func (b *backend) Publish(ctx context.Context, batch []adapter.Outgoing) (sent int, err error) {
	return b.publish(ctx, batch)
}

// Close implements adapter.Backend.
func (b *backend) Close(ctx context.Context) error {
	b.stop()
	return b.member.Close(ctx)
}
