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
	c        *adapter.Cluster

	channel string
	invalid error // why channel does not serve, if it does not
	inbox   inbox
	sub     *subscription
}

func newBackend(p *pool, r *receiver, o *Options, c *adapter.Cluster) *backend {
	b := &backend{sender: newSender(p, o, c.UID()), receiver: r, c: c}
	b.channel, b.invalid = o.channel(c.Namespace())
	b.inbox.init(b)
	b.sub = &subscription{channel: b.channel, handle: b.handle, connected: c.Connected, lost: c.ReportLost}
	return b
}

// Start implements adapter.Backend.
func (b *backend) Start() {
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

// ServerCount implements adapter.Backend. Nodes are counted by heartbeats.
func (b *backend) ServerCount(context.Context) (int, error) { return 0, adapter.ErrUnsupported }

// HandleRoom implements adapter.Backend: rooms have no channel of their own.
func (b *backend) HandleRoom(string) {}

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
	if b.c.IsOwn(payload) {
		return
	}
	ref, ok, err := decodeReference(payload)
	switch {
	case err != nil:
		b.c.ReportMalformed(err)
	case ok && ref.uid == b.c.UID():
	case ok && ref.kind.IsResponse() && !b.c.AwaitsAnything():
		// It is for another node, which one it does not say. That its sender is there is all that concerns this one.
		b.c.Receive(&adapter.Message{Type: ref.kind, UID: ref.uid})
	case ok:
		b.inbox.add(arrival{attachment: ref.id, referred: true})
	default:
		b.inbox.add(arrival{payload: payload})
	}
}
