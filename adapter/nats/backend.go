package nats

import (
	"context"
	"fmt"
	"time"

	"github.com/myriad-rt/myriad/adapter"
)

// backend is that of a namespace.
type backend struct {
	hub       *hub
	node      adapter.Node
	subjects  subjects
	publisher *publisher
	parts     parts
}

func newBackend(h *hub, o *Options, namespace string) *backend {
	return &backend{hub: h, subjects: newSubjects(o.Prefix, namespace, o.SubscriptionMode), publisher: newPublisher(h.conn)}
}

// Start implements adapter.Backend.
func (b *backend) Start(n adapter.Node) {
	b.node = n
	n.SubscribeRooms(b.subjects.mode, b.subscribe, b.unsubscribe)
	b.hub.join(b, b.subjects.all(), b.subjects.node(n.UID()))
}

// handle takes what has come on any subject.
func (b *backend) handle(payload []byte) {
	now := time.Now()
	b.parts.expire(now)
	if len(payload) > 0 && payload[0] == partMark {
		if b.publisher.isOwn(payload) {
			return
		}
		whole, err := b.parts.add(payload, now)
		if whole == nil {
			b.node.Receive(nil, err)
			return
		}
		payload = whole
	}
	b.node.ReceiveEncoded(payload)
}

// Encode implements adapter.Backend.
func (b *backend) Encode(m *adapter.Message) (adapter.Outgoing, error) {
	payload, err := encode(m)
	return adapter.Outgoing{Type: m.Type, Channel: b.subjects.of(m), Payload: payload}, err
}

// Publish implements adapter.Backend.
func (b *backend) Publish(ctx context.Context, batch []adapter.Outgoing) (sent int, err error) {
	for _, out := range batch {
		failure := context.Cause(ctx)
		if failure == nil {
			failure = b.publisher.publish(out.Channel, out.Payload)
		}
		if failure == nil {
			sent++
		} else if err == nil {
			err = failure
		}
	}
	return sent, err
}

func (b *backend) subscribe(room string) { b.hub.subscribe(b, b.subjects.room(room)) }

func (b *backend) unsubscribe(rooms ...string) {
	names := make([]string, len(rooms))
	for i, room := range rooms {
		names[i] = b.subjects.room(room)
	}
	b.hub.unsubscribe(b, names...)
}

// Close implements adapter.Backend.
func (b *backend) Close(ctx context.Context) error {
	b.hub.leave(b, b.subjects.all(), b.subjects.node(b.node.UID()))
	if err := b.hub.flush(ctx); err != nil {
		return fmt.Errorf("nats: unsubscribing: %w", err)
	}
	return nil
}
