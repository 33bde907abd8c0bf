package postgres

import (
	"context"
	"fmt"

	"github.com/myriad-rt/myriad/adapter"
)

// backend is that of one namespace.
type backend struct {
	*sender
	receiver *receiver
	node     adapter.Node

	channel string
	invalid error // why channel does not serve, if it does not
	inbox   inbox
	sub     *subscription
}

func newBackend(p *pool, r *receiver, o *Options, namespace string) *backend {
	b := &backend{sender: newSender(p, o), receiver: r}
	b.channel, b.invalid = o.channel(namespace)
	b.inbox.init(b)
	return b
}

// Start implements adapter.Backend.
func (b *backend) Start(n adapter.Node) {
	b.node, b.uid = n, n.UID()
	b.sub = &subscription{channel: b.channel, handle: b.handle, connected: n.Connected, lost: n.Lost}
	if b.invalid == nil {
		b.receiver.subscribe(b.sub)
	}
}

// Encode implements adapter.Backend. Each message has the same channel.
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
	var err error
	if b.invalid == nil {
		err = b.receiver.unsubscribe(ctx, b.sub)
	}
	b.inbox.close()
	if err != nil {
		return fmt.Errorf("postgres: ending the connection: %w", err)
	}
	return nil
}

// handle takes a notification. One goroutine at a time calls it.
func (b *backend) handle(payload []byte) {
	ref, ok, err := decodeReference(payload)
	switch {
	case err != nil:
		b.node.Receive(nil, err)
	case ok && ref.uid == b.uid:
	case ok && ref.kind.IsResponse() && !b.node.Awaits(""):
		// It is for another node, but shows that its sender is there.
		b.node.Receive(&adapter.Message{Type: ref.kind, UID: ref.uid}, nil)
	case ok:
		b.inbox.add(arrival{attachment: ref.id, referred: true})
	default:
		b.inbox.add(arrival{payload: payload})
	}
}
