package redis

import (
	"bytes"
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/internal/redispubsub"
	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/internal/subscribe"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// classic is the backend of a namespace on ordinary publish/subscribe.
type classic struct {
	client redis.UniversalClient
	member *subscribe.Member
	channels
	node adapter.Node
	own  string // the channel of responses to this node
}

// channels holds the channel names of a namespace.
type channels struct {
	broadcasts string // the channel of broadcasts and the prefix of room channels
	requests   string
	responses  string
	specific   bool // answers go to the channel of the requesting node
}

func newChannels(key, namespace string, specific bool) channels {
	suffix := "#" + namespace + "#"
	return channels{
		broadcasts: key + suffix, requests: key + "-request" + suffix, responses: key + "-response" + suffix,
		specific: specific,
	}
}

func newClassic(client redis.UniversalClient, r *subscribe.Receiver, o *Options, namespace string) *classic {
	b := &classic{client: client, channels: newChannels(o.Key, namespace, o.SpecificResponseChannel)}
	b.member = r.NewMember(b.handle)
	return b
}

// owner is a node that recognizes its own broadcasts.
type owner struct {
	adapter.Node
	head []byte // the first bytes of this node's broadcasts
}

// IsOwn implements subscribe.Owner.
func (o owner) IsOwn(payload []byte) bool { return bytes.HasPrefix(payload, o.head) }

// globEscaper turns a name into a pattern that matches only that name.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

func (b *classic) pattern() string { return globEscaper.Replace(b.broadcasts) + "*" }

// Start implements adapter.Backend. Nodes are counted by their subscriptions to the channel of requests.
func (b *classic) Start(n adapter.Node) {
	b.node, b.own = n, b.responses+n.UID()+"#"
	b.member.Join(owner{n, broadcastHead(n.UID())}, b.requests, b.pattern(), b.responses, b.own)
}

// Publish implements adapter.Backend.
func (b *classic) Publish(ctx context.Context, batch []adapter.Outgoing) (sent int, err error) {
	return redispubsub.Publish(ctx, b.client, publishCommand, batch)
}

// ServerCount implements adapter.Counter.
func (b *classic) ServerCount(ctx context.Context) (int, error) {
	return redispubsub.Subscribers(ctx, b.client, false, b.requests)
}

// Close implements adapter.Backend.
func (b *classic) Close(ctx context.Context) error { return b.member.Close(ctx) }

func (b *classic) handle(batch []subscribe.Message) {
	for i := range batch {
		switch m := &batch[i]; m.Name {
		case b.requests:
			b.handleRequest(m.Payload)
		case b.responses, b.own:
			b.handleResponse(m.Payload)
		default:
			b.handleBroadcast(m.Channel, m.Payload)
		}
	}
}

// handleBroadcast handles a message on the channel of the namespace or of a room.
func (b *classic) handleBroadcast(channel string, payload []byte) {
	rest, ok := strings.CutPrefix(channel, b.broadcasts)
	if !ok {
		return
	}
	if room := strings.TrimSuffix(rest, "#"); room != "" && !b.node.HasRoom(room) {
		return
	}
	b.node.Receive(decodeBroadcast(payload))
}

// handleRequest handles a message on the channel of requests.
func (b *classic) handleRequest(payload []byte) {
	switch r, err := decodeRequest(payload, b.node.UID()); {
	case err != nil:
		b.node.Receive(nil, err)
	case r.old == nil:
		b.node.Receive(r.m, nil)
	case r.m.UID != b.node.UID():
		b.answerOld(r)
	}
}

// handleResponse handles an answer to any node.
func (b *classic) handleResponse(payload []byte) {
	b.node.Receive(decodeResponse(payload, b.node.Awaits))
}

// Encode implements adapter.Backend.
func (b *classic) Encode(m *adapter.Message) (adapter.Outgoing, error) { return b.encode(m), nil }

func (c *channels) encode(m *adapter.Message) adapter.Outgoing {
	channel, payload := c.requests, []byte(nil)
	switch m.Type {
	case adapter.MessageBroadcast:
		if m.RequestID == "" {
			channel, payload = c.ofBroadcast(&m.Options), encodeBroadcast(m)
			break
		}
		payload = encodeRequest(m)
	case adapter.MessageServerSideEmitResponse:
		channel, payload = c.responses, encodeResponse(m) // regardless of the options
	default:
		if m.Type.IsResponse() {
			channel, payload = c.ofResponse(m.To), encodeResponse(m)
		} else {
			payload = encodeRequest(m)
		}
	}
	return adapter.Outgoing{Type: m.Type, Channel: channel, Payload: payload}
}

func (c *channels) ofBroadcast(o *adapter.Options) string {
	if len(o.Rooms) == 1 {
		return c.broadcasts + o.Rooms[0] + "#"
	}
	return c.broadcasts
}

func (c *channels) ofResponse(uid string) string {
	if c.specific && uid != "" {
		return c.responses + uid + "#"
	}
	return c.responses
}

// answerOld handles a request in the form that older versions send.
func (b *classic) answerOld(r *request) {
	local := b.node.Local()
	answer := jsontext.AppendString([]byte(`{"requestId":`), r.m.RequestID)
	switch r.kind {
	case requestSockets:
		var ids []string
		local.Each(r.m.Options, func(s adapter.Socket) bool {
			ids = append(ids, s.ID())
			return true
		})
		answer = jsontext.AppendStrings(append(answer, `,"sockets":`...), ids)
	case requestAllRooms:
		answer = jsontext.AppendStrings(append(answer, `,"rooms":`...), allRooms(local))
	default:
		s, ok := local.Socket(r.old.socket)
		if !ok {
			return // another node has it
		}
		switch r.kind {
		case requestJoin:
			_ = local.Add(s, r.old.room) // the protocol cannot report an error
		case requestLeave:
			local.Remove(s, r.old.room)
		case requestDisconnect:
			s.Disconnect(r.m.CloseConn)
		}
	}
	_ = b.node.Send(adapter.Outgoing{ // errors are counted
		Type: adapter.MessageFetchSocketsResponse, Channel: b.ofResponse(r.m.UID), Payload: append(answer, '}'),
	})
}

// allRooms returns the rooms of this node, including rooms named after a socket.
func allRooms(local *adapter.Memory) []string {
	rooms := local.RoomNames()
	known := make(map[string]struct{}, len(rooms))
	for _, room := range rooms {
		known[room] = struct{}{}
	}
	local.Each(adapter.Options{}, func(s adapter.Socket) bool {
		if _, ok := known[s.ID()]; !ok {
			rooms = append(rooms, s.ID())
		}
		return true
	})
	return rooms
}

// value returns a Value of text and the attachments of v.
func value(text []byte, v parser.Value) parser.Value {
	return parser.Value{Data: text, Attachments: v.Attachments}
}
