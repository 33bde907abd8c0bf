package redisstreams

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/socketio/parser"
)

const (
	// sessionType is the type of an Outgoing that stores a session.
	sessionType adapter.MessageType = 0
	// maxIDLength is the maximum length of an id, in bytes.
	maxIDLength = 128
	// rangeCount is the number of entries per query.
	rangeCount = 1000
	// maxTries is the maximum number of attempts to catch up with the stream.
	maxTries = 100
)

var errOvertaken = errors.New("redisstreams: entries are added faster than they can be read")

// PersistSession implements adapter.Keeper. The session is queued after the messages that this node has published.
func (b *backend) PersistSession(s *adapter.Session) error {
	value, err := encodeSession(s)
	if err != nil {
		return err
	}
	return b.node.Send(adapter.Outgoing{Type: sessionType, Channel: b.sessionKey(s.PID), Payload: value})
}

func (b *backend) sessionKey(pid string) string { return b.f.opts.SessionKeyPrefix + pid }

// encodeSession encodes s for Redis: MessagePack in base64.
func encodeSession(s *adapter.Session) ([]byte, error) {
	data := []byte("{}")
	if s.Data != nil {
		var err error
		if data, err = json.Marshal(s.Data); err != nil {
			return nil, fmt.Errorf("redisstreams: data of a session: %w", err)
		}
	}
	text := jsontext.AppendString([]byte(`{"sid":`), s.ID)
	text = jsontext.AppendString(append(text, `,"pid":`...), s.PID)
	text = jsontext.AppendStrings(append(text, `,"rooms":`...), s.Rooms)
	text = append(append(append(text, `,"data":`...), data...), '}')
	return base64.StdEncoding.AppendEncode(nil, parser.AppendMessagePack(nil, parser.Value{Data: text})), nil
}

// decodeSession decodes a session stored by encodeSession or by a Node.js server. Its errors wrap adapter.ErrMalformed.
func decodeSession(value string) (*adapter.Session, error) {
	malformed := func(what string) error { return fmt.Errorf("%w: %s of a session", adapter.ErrMalformed, what) }
	packed, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil, malformed("base64")
	}
	v, err := adapter.DecodeValue(packed)
	if err != nil {
		return nil, err
	}
	r, ok := jsontext.Read(v.Data, '{')
	s := new(adapter.Session)
	for ok {
		key, value, more := r.Member()
		if !more {
			break
		}
		switch string(key) {
		case "sid":
			s.ID, ok = jsontext.String(value)
		case "pid":
			s.PID, ok = jsontext.String(value)
		case "rooms":
			s.Rooms, ok = jsontext.Names(value)
		case "data":
			s.Data = json.RawMessage(adapter.AppendBufferJSON(nil, parser.Value{Data: value, Attachments: v.Attachments}))
		}
		if !ok {
			return nil, malformed(string(key))
		}
	}
	if !isID(s.ID) || !isID(s.PID) {
		return nil, malformed("id")
	}
	return s, nil
}

// isID reports whether s can be the id of a socket or the secret of a session.
func isID(s string) bool {
	return s != "" && len(s) <= maxIDLength && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

// TakeSession implements adapter.Keeper.
func (b *backend) TakeSession(ctx context.Context, pid, offset string) (*adapter.Session, error) {
	seen, ok := parsePosition(offset)
	if !ok || !isID(pid) {
		return nil, nil
	}
	return within(ctx, func() (*adapter.Session, error) { return b.takeSession(ctx, pid, seen) })
}

// within calls f and returns its results, or the cause of ctx if ctx is done first. The Redis client ignores ctx while it
// waits for an answer.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// takeSession removes and returns the session with the secret pid. It returns nil if there is none or if the stream no
// longer holds the entry at seen, so that later events could be missing.
func (b *backend) takeSession(ctx context.Context, pid string, seen position) (*adapter.Session, error) {
	found, err := b.f.client.XRange(ctx, b.stream, seen.String(), seen.String()).Result()
	if err != nil || len(found) == 0 || newEntry(&found[0]).namespace != b.node.Namespace() {
		return nil, err
	}
	var get *redis.StringCmd
	_, err = b.f.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		get = p.Get(ctx, b.sessionKey(pid))
		p.Del(ctx, b.sessionKey(pid))
		return nil
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := decodeSession(get.Val())
	if err == nil && s.PID != pid {
		err = fmt.Errorf("%w: key of another session", adapter.ErrMalformed)
	}
	return s, err
}

// missed is a packet that a client has missed.
type missed struct {
	at     position
	packet *parser.Packet
}

// CatchUp implements adapter.Keeper. The client receives entries after the last handled one as they are handled.
func (b *backend) CatchUp(ctx context.Context, s *adapter.Session, offset string, join func([]*parser.Packet)) error {
	last, _ := parsePosition(offset) // TakeSession has looked at it
	if err := b.await(ctx, last); err != nil {
		return err
	}
	var all []missed
	for range maxTries {
		found, end, err := b.missedBetween(ctx, s, last)
		if err != nil {
			return err
		}
		all, last = append(all, found...), end
		done, err := b.attempt(ctx, last, func(at position) { join(until(all, at)) })
		if done || err != nil {
			return err
		}
	}
	return errOvertaken
}

// until returns the packets up to a position.
func until(all []missed, at position) (packets []*parser.Packet) {
	for _, m := range all {
		if !at.before(m.at) {
			packets = append(packets, m.packet)
		}
	}
	return packets
}

// missedBetween returns the packets for s after a position, up to the end of the stream.
func (b *backend) missedBetween(ctx context.Context, s *adapter.Session, after position) (all []missed, end position, err error) {
	end = after
	for {
		entries, err := within(ctx, func() ([]redis.XMessage, error) {
			return b.f.client.XRangeN(ctx, b.stream, end.next().String(), "+", rangeCount).Result()
		})
		if err != nil {
			return nil, end, err
		}
		for i := range entries {
			e := newEntry(&entries[i])
			end = e.at
			if p := b.packetFor(s, e); p != nil {
				all = append(all, missed{e.at, p})
			}
		}
		if len(entries) < rangeCount {
			return all, end, nil
		}
	}
}

// packetFor returns the packet in e if e is for the client of s, or nil. Volatile events are not sent again.
func (b *backend) packetFor(s *adapter.Session, e *entry) *parser.Packet {
	if e.namespace != b.node.Namespace() || e.kind != broadcastKind {
		return nil
	}
	m, err := e.decode()
	if err != nil || m.RequestID != "" || m.Options.Flags.Volatile {
		return nil // malformed entries were reported on arrival
	}
	in := func(room string) bool { return slices.Contains(s.Rooms, room) }
	if len(m.Options.Rooms) > 0 && !slices.ContainsFunc(m.Options.Rooms, in) || slices.ContainsFunc(m.Options.Except, in) {
		return nil
	}
	return adapter.WithOffset(&parser.Packet{
		Type: parser.Event, Namespace: b.node.Namespace(), Data: m.Value.Data, Attachments: m.Value.Attachments,
	}, e.id)
}
