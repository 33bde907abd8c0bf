package nats

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/subscribe"
)

// backend is the backend of a namespace.
type backend struct {
	conn      *nats.Conn
	member    *subscribe.Member
	node      adapter.Node
	subjects  subjects
	publisher *publisher
	parts     parts
}

func newBackend(conn *nats.Conn, r *subscribe.Receiver, o *Options, namespace string) *backend {
	b := &backend{
		conn: conn, subjects: newSubjects(o.Prefix, namespace, o.SubscriptionMode), publisher: newPublisher(conn),
	}
	b.member = r.NewMember(b.handleAll)
	return b
}

// Start implements adapter.Backend.
func (b *backend) Start(n adapter.Node) {
	b.node = n
	n.SubscribeRooms(b.subjects.mode, b.subscribe, b.unsubscribe)
	b.member.Join(owner{n, b.publisher}, b.subjects.all(), b.subjects.node(n.UID()))
}

// owner is a node that also recognizes parts of its own messages.
type owner struct {
	adapter.Node
	publisher *publisher
}

// IsOwn implements subscribe.Owner.
func (o owner) IsOwn(payload []byte) bool { return o.publisher.isOwn(payload) || o.Node.IsOwn(payload) }

func (b *backend) handleAll(batch []subscribe.Message) {
	for i := range batch {
		b.handle(batch[i].Payload)
	}
}

// handle handles a message on any subject.
func (b *backend) handle(payload []byte) {
	now := time.Now()
	b.parts.expire(now)
	if len(payload) > 0 && payload[0] == partMark {
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
			err = wrap(failure)
		}
	}
	return sent, err
}

func (b *backend) subscribe(room string) { b.member.Subscribe(b.subjects.room(room)) }

func (b *backend) unsubscribe(rooms ...string) {
	names := make([]string, len(rooms))
	for i, room := range rooms {
		names[i] = b.subjects.room(room)
	}
	b.member.Unsubscribe(names...)
}

// Close implements adapter.Backend.
func (b *backend) Close(ctx context.Context) error {
	if err := b.member.Close(ctx); err != nil || !b.conn.IsConnected() {
		return err
	}
	if err := flush(ctx, b.conn); err != nil {
		return fmt.Errorf("nats: unsubscribing: %w", err)
	}
	return nil
}
