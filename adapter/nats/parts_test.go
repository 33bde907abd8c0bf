package nats

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// makePart returns a part of a message.
func makePart(sender string, number, total, offset uint32, data []byte) []byte {
	p := &publisher{number: number}
	copy(p.sender[:], sender)
	return append(p.appendPartHead(nil, int(total), int(offset)), data...)
}

func TestParts(t *testing.T) {
	now := time.Now()
	type step struct {
		part  []byte
		after time.Duration
		whole string
		err   bool
	}
	for name, steps := range map[string][]step{
		"two": {
			{part: makePart("s", 1, 5, 0, []byte("abc"))},
			{part: makePart("s", 1, 5, 3, []byte("de")), whole: "abcde"},
		},
		"one": {{part: makePart("s", 1, 3, 0, []byte("abc")), whole: "abc"}},
		"two senders": {
			{part: makePart("s", 1, 5, 0, []byte("abc"))},
			{part: makePart("t", 1, 5, 0, []byte("ABC"))},
			{part: makePart("t", 1, 5, 3, []byte("DE")), whole: "ABCDE"},
			{part: makePart("s", 1, 5, 3, []byte("de")), whole: "abcde"},
		},
		"given up by its sender": {
			{part: makePart("s", 1, 5, 0, []byte("abc"))},
			{part: makePart("s", 2, 4, 0, []byte("ABC"))},
			{part: makePart("s", 2, 4, 3, []byte("D")), whole: "ABCD"},
		},
		"begun before the subscription": {
			{part: makePart("s", 1, 5, 3, []byte("de"))},
			{part: makePart("s", 2, 1, 0, []byte("x")), whole: "x"},
		},
		"one is missing": {
			{part: makePart("s", 1, 5, 0, []byte("a"))},
			{part: makePart("s", 1, 5, 3, []byte("de")), err: true},
			{part: makePart("s", 1, 5, 1, []byte("bcde"))},
		},
		"another message": {
			{part: makePart("s", 1, 5, 0, []byte("abc"))},
			{part: makePart("s", 2, 5, 3, []byte("de")), err: true},
		},
		"twice": {
			{part: makePart("s", 1, 5, 0, []byte("abc"))},
			{part: makePart("s", 1, 5, 3, []byte("d"))},
			{part: makePart("s", 1, 5, 3, []byte("d")), err: true},
		},
		"too late": {
			{part: makePart("s", 1, 5, 0, []byte("abc"))},
			{part: makePart("s", 1, 5, 3, []byte("de")), after: partPatience + time.Second},
		},
		"too long":         {{part: makePart("s", 1, adapter.MaxMessageBytes+1, 0, []byte("abc")), err: true}},
		"longer than said": {{part: makePart("s", 1, 2, 0, []byte("abc")), err: true}},
		"behind the end":   {{part: makePart("s", 1, 2, 0xffffffff, []byte("abc")), err: true}},
		"nothing in it":    {{part: makePart("s", 1, 2, 0, nil), err: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var p parts
			for i, s := range steps {
				now = now.Add(s.after)
				p.expire(now)
				whole, err := p.add(s.part, now)
				if string(whole) != s.whole || errors.Is(err, adapter.ErrMalformed) != s.err {
					t.Errorf("part %d: got %q, %v", i, whole, err)
				}
			}
			p.expire(now.Add(time.Hour))
			if p.bytes != 0 || len(p.bySender) > 0 {
				t.Errorf("%d bytes of %d messages remain", p.bytes, len(p.bySender))
			}
		})
	}
}

// TestPartsBounded begins long messages of many senders and never completes them.
func TestPartsBounded(t *testing.T) {
	var p parts
	now := time.Now()
	data := make([]byte, 1<<20)
	refused := 0
	for i := range 200 {
		if _, err := p.add(makePart(string(rune('A'+i)), 1, 2<<20, 0, data), now); err != nil {
			refused++
		}
		if p.bytes > maxPartBytes {
			t.Fatalf("%d bytes are kept", p.bytes)
		}
	}
	if refused < 60 || refused > 80 {
		t.Errorf("%d refused", refused)
	}
}

// silent is a backend whose node neither receives nor sends.
type silent struct{ *backend }

func (b silent) Start(n adapter.Node) { b.node = n }

func (silent) Publish(_ context.Context, batch []adapter.Outgoing) (int, error) {
	return len(batch), nil
}

// FuzzReceive passes a node a message or, if cut is set, the parts of one.
func FuzzReceive(f *testing.F) {
	event := parser.Value{Data: []byte(`["x",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1, 2}}}
	for _, m := range []adapter.Message{
		{Type: adapter.MessageHeartbeat},
		{Type: adapter.MessageBroadcast, Value: event, Options: adapter.Options{Rooms: []string{"room"}}},
		{Type: adapter.MessageBroadcast, Value: parser.Value{Data: []byte(`["x"]`)}, RequestID: "r"},
		{Type: adapter.MessageFetchSockets, RequestID: "r"},
		{Type: adapter.MessageSocketsJoin, Rooms: []string{"a"}},
		{Type: adapter.MessageServerSideEmit, Value: event},
	} {
		m.UID, m.Namespace = "other", "/"
		f.Add(m.Append(nil), 0)
		f.Add(m.Append(nil), 7)
		f.Add(makePart("s", 1, 100, 0, m.Append(nil)), 0)
	}
	n := adaptertest.NewNode("/")
	o := (*Options)(nil).withDefaults()
	b := newBackend(nil, newReceiver(nil, &o), &o, "/")
	c := adapter.NewCluster(n, &o.ClusterOptions, silent{b})
	n.Adapter = c
	n.Connect("s", "room")
	f.Fuzz(func(t *testing.T, payload []byte, cut int) {
		if cut <= 0 {
			b.handle(bytes.Clone(payload))
			return
		}
		before := c.Stats()
		want := uint64(1)
		if len(payload) == 0 || len(payload) > 1<<16 || bytes.Contains(payload, []byte(c.Stats().UID)) {
			return
		}
		for offset := 0; offset < len(payload); offset += cut {
			piece := payload[offset:min(offset+cut, len(payload))]
			b.handle(makePart("f", 1, uint32(len(payload)), uint32(offset), piece))
		}
		after := c.Stats()
		if got := after.Received + after.Malformed - before.Received - before.Malformed; got < want {
			t.Errorf("the message that was sent in parts was not received")
		}
	})
}
