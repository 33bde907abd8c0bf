package redis

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/internal/subscribe"
)

// sharded is the backend of a namespace on sharded publish/subscribe.
type sharded struct {
	client redis.UniversalClient
	member *subscribe.Member
	shardedChannels
	node adapter.Node
	own  string // the channel of responses to this node
}

// shardedChannels holds the channel names of a namespace.
type shardedChannels struct {
	main string // the channel of the namespace
	mode SubscriptionMode
}

func newShardedChannels(o *ShardedOptions, namespace string) shardedChannels {
	return shardedChannels{main: o.ChannelPrefix + "#" + namespace + "#", mode: o.SubscriptionMode}
}

func newSharded(client redis.UniversalClient, r *subscribe.Receiver, o *ShardedOptions, namespace string) *sharded {
	b := &sharded{client: client, shardedChannels: newShardedChannels(o, namespace)}
	b.member = r.NewMember(b.handle)
	return b
}

// Start implements adapter.Backend. Nodes are counted by their subscriptions to the channel of the namespace.
func (b *sharded) Start(n adapter.Node) {
	b.node, b.own = n, b.of(&adapter.Message{To: n.UID()})
	n.SubscribeRooms(b.mode, b.subscribe, b.unsubscribe)
	b.member.Join(n, b.main, b.own)
}

func (b *sharded) handle(batch []subscribe.Message) {
	for i := range batch {
		b.node.ReceiveEncoded(batch[i].Payload)
	}
}

// Encode implements adapter.Backend.
func (b *sharded) Encode(m *adapter.Message) (adapter.Outgoing, error) { return b.encode(m), nil }

func (c *shardedChannels) encode(m *adapter.Message) adapter.Outgoing {
	return adapter.Outgoing{Type: m.Type, Channel: c.of(m), Payload: m.Append(nil)}
}

// of returns the channel for m.
func (c *shardedChannels) of(m *adapter.Message) string {
	switch {
	case m.To != "":
		return c.main + m.To + "#"
	case m.Type != adapter.MessageBroadcast || m.RequestID != "" || len(m.Options.Rooms) != 1:
		return c.main
	}
	if room := m.Options.Rooms[0]; c.mode.HasChannel(room) {
		return c.main + room + "#"
	}
	return c.main
}

// Publish implements adapter.Backend.
func (b *sharded) Publish(ctx context.Context, batch []adapter.Outgoing) (sent int, err error) {
	return redispubsub.Publish(ctx, b.client, shardedPublishCommand, batch)
}

// ServerCount implements adapter.Counter.
func (b *sharded) ServerCount(ctx context.Context) (int, error) {
	return redispubsub.Subscribers(ctx, b.client, true, b.main)
}

func (b *sharded) subscribe(room string) {
	if name := b.main + room + "#"; name != b.own {
		b.member.Subscribe(name)
	}
}

func (b *sharded) unsubscribe(rooms ...string) {
	names := make([]string, 0, len(rooms))
	for _, room := range rooms {
		if name := b.main + room + "#"; name != b.own {
			names = append(names, name)
		}
	}
	b.member.Unsubscribe(names...)
}

// Close implements adapter.Backend.
func (b *sharded) Close(ctx context.Context) error { return b.member.Close(ctx) }
