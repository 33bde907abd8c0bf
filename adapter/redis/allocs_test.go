package redis

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

func encodedBroadcast(uid, data string) []byte {
	return encodeBroadcast(&adapter.Message{
		Type: adapter.MessageBroadcast, UID: uid, Namespace: "/", Options: adapter.Options{Rooms: []string{"room"}},
		Value: parser.Value{Data: []byte(data)},
	})
}

// TestNobodyAllocsNothing passes a node its own broadcast, as Redis sends it back, and a broadcast to a room without local
// members.
func TestNobodyAllocsNothing(t *testing.T) {
	b, n := newTestClassic("/", new(Options))
	o := owner{b.node, broadcastHead(b.node.UID())}
	data := `["event","` + strings.Repeat("x", 16<<10) + `"]`
	for name, payload := range map[string][]byte{
		"own": encodedBroadcast(b.node.UID(), data), "to nobody": encodedBroadcast("abcdef", data), "garbage to nobody": []byte("garbage"),
	} {
		before := n.Stats()
		allocs := testing.AllocsPerRun(100, func() {
			if !o.IsOwn(payload) {
				b.handleBroadcast(b.broadcasts+"room#", payload)
			}
		})
		if after := n.Stats(); allocs > 0 || after != before {
			t.Errorf("%s: %v allocations, %+v before and %+v after", name, allocs, before, after)
		}
	}
}

// TestOwnAllocsNothing passes a node of NewSharded its own messages.
func TestOwnAllocsNothing(t *testing.T) {
	b, n := newTestClassic("/", new(Options))
	before := n.Stats()
	m := &adapter.Message{Type: adapter.MessageBroadcast, UID: b.node.UID(), Namespace: "/"}
	m.Value.Data = []byte(`["event","` + strings.Repeat("x", 16<<10) + `"]`)
	payload := m.Append(nil)
	if allocs := testing.AllocsPerRun(100, func() { b.node.ReceiveEncoded(payload) }); allocs > 0 || n.Stats() != before {
		t.Errorf("%v allocations, %+v", allocs, n.Stats())
	}
}

// TestArgumentsAllocNothing compares broadcasts of another node with few and with many arguments. Arguments are not decoded
// into values, so both take the same number of allocations.
func TestArgumentsAllocNothing(t *testing.T) {
	allocs := func(data string) float64 {
		payload := encodedBroadcast("abcdef", data)
		return testing.AllocsPerRun(100, func() {
			m, err := decodeBroadcast(payload)
			if err != nil || !bytes.Equal(m.Value.Data, []byte(data)) {
				t.Fatalf("decoded %v, %v", m, err)
			}
		})
	}
	one := allocs(`["event",{"n":1,"text":"a"}]`)
	many := allocs(`["event"` + strings.Repeat(fmt.Sprintf(`,{"n":%d,"text":"%s","list":[1,2,{"deep":[null,true]}]}`, 12345, strings.Repeat("b", 50)), 300) + `]`)
	// The text has another size, which may require one or two more buffers.
	if many > one+4 {
		t.Errorf("%v allocations with one argument, %v with 300", one, many)
	}
}
