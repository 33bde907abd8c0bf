package redisstreams

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// entry is one of a stream, as Redis returns it.
type entry struct {
	id, uid, namespace, kind, data string
	at                             position // the parsed id
}

// broadcastKind is the type of entries that hold a broadcast.
var broadcastKind = strconv.Itoa(int(adapter.MessageBroadcast))

// newEntry converts m. Fields that are missing or not strings are empty.
func newEntry(m *redis.XMessage) *entry {
	field := func(name string) string {
		s, _ := m.Values[name].(string)
		return s
	}
	e := &entry{id: m.ID, uid: field("uid"), namespace: field("nsp"), kind: field("type"), data: field("data")}
	e.at, _ = parsePosition(m.ID)
	return e
}

// decode returns the message in e. Its errors wrap adapter.ErrMalformed or adapter.ErrUnknownType.
func (e *entry) decode() (*adapter.Message, error) {
	kind, err := strconv.ParseUint(e.kind, 10, 8)
	if err != nil {
		return nil, fmt.Errorf("%w: type of an entry", adapter.ErrMalformed)
	}
	m := &adapter.Message{Type: adapter.MessageType(kind), UID: e.uid, Namespace: e.namespace, Offset: e.id}
	data, err := decodeText(e.data)
	if err != nil {
		return nil, err
	}
	if err := m.DecodeData(data); err != nil {
		return nil, err
	}
	return m, nil
}

// decodeText decodes JSON, or MessagePack in base64. An empty text is the zero Value.
func decodeText(text string) (parser.Value, error) {
	if text == "" {
		return parser.Value{}, nil
	}
	if text[0] == '{' {
		return adapter.DecodeValue([]byte(text))
	}
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return parser.Value{}, fmt.Errorf("%w: %w", adapter.ErrMalformed, err)
	}
	return adapter.DecodeValue(packed)
}

// position is the id of an entry. Later entries have greater ones.
type position struct {
	ms, seq uint64
}

// parsePosition parses an id as Redis writes it: two decimal numbers separated by "-".
func parsePosition(id string) (p position, ok bool) {
	ms, seq, ok := strings.Cut(id, "-")
	if !ok {
		return p, false
	}
	var errMs, errSeq error
	p.ms, errMs = strconv.ParseUint(ms, 10, 64)
	p.seq, errSeq = strconv.ParseUint(seq, 10, 64)
	return p, errMs == nil && errSeq == nil
}

func (p position) String() string {
	return strconv.FormatUint(p.ms, 10) + "-" + strconv.FormatUint(p.seq, 10)
}

// next returns the smallest position after p.
func (p position) next() position {
	if p.seq++; p.seq == 0 {
		p.ms++
	}
	return p
}

func (p position) before(q position) bool {
	return p.ms < q.ms || p.ms == q.ms && p.seq < q.seq
}
