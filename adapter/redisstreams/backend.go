package redisstreams

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"unicode/utf16"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/internal/subscribe"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// backend is the backend of a namespace. Messages that change the state of clients are entries of a stream. Requests and
// answers are published on channels, because they are useless later.
type backend struct {
	f        *factory
	node     adapter.Node
	entries  *subscribe.Member // receives entries of the stream
	messages *subscribe.Member // receives messages on channels
	stream   string
	main     string // the channel of the namespace
	own      string // the channel of responses to this node

	mu      sync.Mutex
	handled position      // the position of the last handled entry
	moved   chan struct{} // closed when handled changes; nil if no goroutine waits for it
}

func newBackend(f *factory, namespace string) *backend {
	b := &backend{f: f, stream: streamOf(namespace, f.opts), main: f.opts.ChannelPrefix + "#" + namespace + "#"}
	b.entries, b.messages = f.streams.NewMember(b.handleEntries), f.channels.NewMember(b.handleMessages)
	return b
}

// streamOf returns the stream of a namespace. Node.js servers write to streams with a negative number but do not read
// them.
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
	b.entries.Join(reading{n, b}, nameOf(b.stream, n.Namespace(), n.UID()))
}

// reading is notified when reading of the stream begins or is interrupted.
type reading struct {
	adapter.Node
	b *backend
}

// IsOwn implements subscribe.Owner. It returns false, because this node needs the offsets of its own broadcasts.
func (reading) IsOwn([]byte) bool { return false }

// Connected implements subscribe.Owner. From now on the node receives every entry. Only then does it subscribe to channels
// and so count as a node of the cluster: a later broadcast is certain to reach every node counted before.
func (r reading) Connected() {
	r.Returning(true)
	r.b.messages.Join(r.Node, r.b.main, r.b.own)
}

// Lost implements subscribe.Owner. Entries that the stream keeps are not lost.
func (r reading) Lost() { r.Returning(false) }

func (b *backend) handleMessages(batch []subscribe.Message) {
	for i := range batch {
		b.node.ReceiveEncoded(batch[i].Payload)
	}
}

func (b *backend) handleEntries(batch []subscribe.Message) {
	for i := range batch {
		switch v := batch[i].Value.(type) {
		case *entry:
			if b.handled.before(v.at) { // the previous connection may have received it
				b.handleEntry(v)
				b.reach(v.at)
			}
		case position:
			b.reach(v)
		case gap:
			b.node.Lost()
		case func():
			v()
		}
	}
}

// reach records that all entries up to p have been handled. They are not handled again, even if they failed.
func (b *backend) reach(p position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handled = p
	if b.moved != nil {
		close(b.moved)
		b.moved = nil
	}
}

// await returns when all entries up to p have been handled or ctx is done.
func (b *backend) await(ctx context.Context, p position) error {
	for {
		b.mu.Lock()
		if !b.handled.before(p) {
			b.mu.Unlock()
			return nil
		}
		if b.moved == nil {
			b.moved = make(chan struct{})
		}
		moved := b.moved
		b.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// attempt calls f with the position of the last handled entry. No entry is handled while f runs. If the position is after
// last, attempt returns false without calling f.
func (b *backend) attempt(ctx context.Context, last position, f func(at position)) (done bool, err error) {
	var begun atomic.Bool // or abandoned
	result := make(chan bool, 1)
	open := b.entries.Insert(subscribe.Message{Value: func() {
		if begun.Swap(true) {
			return
		}
		at := b.handled
		fits := !last.before(at)
		if fits {
			f(at)
		}
		result <- fits
	}})
	if !open {
		return false, adapter.ErrClosed
	}
	select {
	case done = <-result:
		return done, nil
	case <-ctx.Done():
	}
	if begun.Swap(true) {
		return <-result, nil // soon: f does not block
	}
	return false, context.Cause(ctx)
}

// handleEntry handles an entry for this namespace.
func (b *backend) handleEntry(e *entry) {
	if e.uid == b.node.UID() {
		if e.kind == broadcastKind {
			b.node.ReceiveOwn(e.data, e.id)
		}
		return
	}
	b.node.Receive(e.decode())
}

// Encode implements adapter.Backend. A message without a channel is written to the stream.
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

// isTransient reports whether a message is useless to a late receiver.
func isTransient(m *adapter.Message) bool {
	switch m.Type {
	case adapter.MessageBroadcast:
		return m.RequestID != ""
	case adapter.MessageSocketsJoin, adapter.MessageSocketsLeave, adapter.MessageDisconnectSockets:
		return false
	}
	return true
}

// appendData appends the data of m in the encoding of entries: JSON or, if m contains binary data, MessagePack in base64.
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
	return redispubsub.Send(ctx, b.f.client, cmds)
}

func (b *backend) command(ctx context.Context, out *adapter.Outgoing) redis.Cmder {
	switch {
	case out.Type == sessionType:
		return redispubsub.Once(ctx, "set", out.Channel, out.Payload, "px", b.node.Recovery().MaxDisconnection.Milliseconds())
	case out.Channel == "":
		return add(ctx, b.stream, b.f.opts.MaxLen, b.node.UID(), b.node.Namespace(), out)
	case b.f.opts.ShardedPubSub:
		return redispubsub.Once(ctx, "spublish", out.Channel, out.Payload)
	}
	return redispubsub.Once(ctx, "publish", out.Channel, out.Payload)
}

// add returns the command that adds an entry to a stream.
func add(ctx context.Context, stream string, maxLen int64, uid, namespace string, out *adapter.Outgoing) redis.Cmder {
	return redispubsub.Once(ctx, "xadd", stream, "maxlen", "~", maxLen, "*",
		"uid", uid, "nsp", namespace, "type", int(out.Type), "data", out.Payload)
}

// ServerCount implements adapter.Counter.
func (b *backend) ServerCount(ctx context.Context) (int, error) {
	return redispubsub.Subscribers(ctx, b.f.client, b.f.opts.ShardedPubSub, b.main)
}

// Close implements adapter.Backend.
func (b *backend) Close(ctx context.Context) error {
	return errors.Join(b.entries.Close(ctx), b.messages.Close(ctx))
}
