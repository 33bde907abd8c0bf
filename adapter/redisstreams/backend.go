package redisstreams

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"unicode/utf16"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/pubsub"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// backend is that of a namespace. What changes the state of clients is an entry of a stream; requests, which are
// worth nothing later, and answers are published on channels.
type backend struct {
	f      *factory
	node   adapter.Node
	reader *reader
	stream string
	main   string // the channel of the namespace
	own    string // the channel of responses to this node
	hears  bool   // Redis has subscribed this node to own; guarded by reader.mu
}

func newBackend(f *factory, namespace string) *backend {
	stream := streamOf(namespace, f.opts)
	return &backend{f: f, reader: f.reader(stream), stream: stream, main: f.opts.ChannelPrefix + "#" + namespace + "#"}
}

// streamOf returns the stream of a namespace. Node.js servers read no stream with a negative number, but write to
// it.
func streamOf(namespace string, o *Options) string {
	if o.StreamCount == 1 {
		return o.StreamName
	}
	var hash int32
	for _, unit := range utf16.Encode([]rune(namespace)) {
		hash = hash*31 + int32(unit)
	}
	return o.StreamName + "-" + strconv.Itoa(int(hash)%o.StreamCount)
}

// Start implements adapter.Backend.
func (b *backend) Start(n adapter.Node) {
	b.node, b.own = n, b.main+n.UID()+"#"
	b.reader.attach(b)
	b.f.receiver.Subscribe(b.own, &pubsub.Subscription{Owner: b, Handle: b.handleMessage, Confirmed: func() { b.reader.hears(b) }})
}

// join has this node count as one of the cluster, which is by its subscription. That must not come before the reader
// has its place in the stream: who has counted the nodes may rely on what it broadcasts then to reach all of them. Nor before
// answers come, which may be by another server of a Redis Cluster.
func (b *backend) join() {
	b.f.receiver.Subscribe(b.main, &pubsub.Subscription{Owner: b, Handle: b.handleMessage, Confirmed: b.node.Connected, Lost: b.node.Lost})
}

// handleMessage takes what was published on a channel.
func (b *backend) handleMessage(_ string, payload []byte) { b.node.ReceiveEncoded(payload) }

// handleEntry takes an entry of the stream for this namespace.
func (b *backend) handleEntry(e *entry) {
	if e.uid == b.node.UID() {
		if e.kind == broadcastKind {
			b.node.ReceiveOwn(e.data, e.id)
		}
		return
	}
	b.node.Receive(e.decode())
}

// Encode implements adapter.Backend. What has no channel is for the stream.
func (b *backend) Encode(m *adapter.Message) (adapter.Outgoing, error) {
	out := adapter.Outgoing{Type: m.Type}
	switch {
	case m.To != "":
		out.Channel, out.Payload = b.main+m.To+"#", m.AppendMessagePack(nil)
	case isTransient(m):
		out.Channel, out.Payload = b.main, m.AppendMessagePack(nil)
	default:
		out.Payload = appendData(nil, m)
	}
	return out, nil
}

// isTransient reports whether a message is worth nothing to who hears of it later.
func isTransient(m *adapter.Message) bool {
	switch m.Type {
	case adapter.MessageBroadcast:
		return m.RequestID != ""
	case adapter.MessageSocketsJoin, adapter.MessageSocketsLeave, adapter.MessageDisconnectSockets:
		return false
	}
	return true
}

// appendData appends what an entry has for the data of a message: JSON or, if it contains binary data, MessagePack in
// base64.
func appendData(dst []byte, m *adapter.Message) []byte {
	if !m.IsBinary() {
		return m.AppendData(dst)
	}
	packed := parser.AppendMessagePack(nil, parser.Value{Data: m.AppendData(nil), Attachments: m.Value.Attachments})
	return base64.StdEncoding.AppendEncode(dst, packed)
}

// Publish implements adapter.Backend.
func (b *backend) Publish(ctx context.Context, batch []adapter.Outgoing) (sent int, err error) {
	cmds := make([]redis.Cmder, len(batch))
	for i := range batch {
		cmds[i] = b.command(ctx, &batch[i])
	}
	return pubsub.Send(ctx, b.f.client, cmds)
}

func (b *backend) command(ctx context.Context, out *adapter.Outgoing) redis.Cmder {
	switch {
	case out.Type == sessionType:
		return pubsub.Once(ctx, "set", out.Channel, out.Payload, "px", b.node.Recovery().MaxDisconnection.Milliseconds())
	case out.Channel == "":
		return add(ctx, b.stream, b.f.opts.MaxLen, b.node.UID(), b.node.Namespace(), out)
	case b.f.opts.ShardedPubSub:
		return pubsub.Once(ctx, "spublish", out.Channel, out.Payload)
	}
	return pubsub.Once(ctx, "publish", out.Channel, out.Payload)
}

// add returns the command that adds an entry to a stream.
func add(ctx context.Context, stream string, maxLen int64, uid, namespace string, out *adapter.Outgoing) redis.Cmder {
	return pubsub.Once(ctx, "xadd", stream, "maxlen", "~", maxLen, "*",
		"uid", uid, "nsp", namespace, "type", int(out.Type), "data", out.Payload)
}

// ServerCount implements adapter.Counter.
func (b *backend) ServerCount(ctx context.Context) (int, error) {
	return pubsub.Subscribers(ctx, b.f.client, b.f.opts.ShardedPubSub, b.main)
}

// Close implements adapter.Backend.
func (b *backend) Close(ctx context.Context) error {
	b.reader.detach(b)
	b.f.receiver.Unsubscribe(b, b.main, b.own)
	if err := b.f.receiver.Flush(ctx); err != nil {
		return fmt.Errorf("redisstreams: unsubscribing: %w", err)
	}
	return nil
}
