package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/myriad-rt/myriad/adapter"
)

// backend is that of a namespace.
type backend struct {
	hub       *hub
	c         *adapter.Cluster
	subjects  subjects
	rooms     *adapter.RoomChannels
	publisher *publisher
	parts     parts
}

func newBackend(h *hub, o *Options, c *adapter.Cluster) *backend {
	b := &backend{
		hub: h, c: c, subjects: newSubjects(o.Prefix, c.Namespace(), o.SubscriptionMode), publisher: newPublisher(h.conn),
	}
	b.rooms = adapter.NewRoomChannels(c, o.SubscriptionMode, b.subscribe, b.unsubscribe)
	return b
}

// Start implements adapter.Backend.
func (b *backend) Start() {
	b.hub.join(b, b.subjects.all(), b.subjects.node(b.c.UID()))
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
		if err != nil {
			b.c.ReportMalformed(err)
			return
		}
		if whole == nil {
			return
		}
		payload = whole
	}
	b.c.ReceiveEncoded(payload)
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

var errNoCount = errors.New("nats: nodes are counted by heartbeats")

// ServerCount implements adapter.Backend. It is not called.
func (b *backend) ServerCount(context.Context) (int, error) { return 0, errNoCount }

// HandleRoom implements adapter.Backend.
func (b *backend) HandleRoom(room string) { b.rooms.HandleRoom(room) }

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
	b.rooms.Close()
	b.hub.leave(b, b.subjects.all(), b.subjects.node(b.c.UID()))
	if err := b.hub.flush(ctx); err != nil {
		return fmt.Errorf("nats: unsubscribing: %w", err)
	}
	return nil
}
