//go:build !race

package redis

import (
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
)

// TestBroadcastAllocsOnce encodes a broadcast. New allocates the payload and the counter of its elements, but no text of the
// whole. NewSharded allocates the payload and the name of the channel. With the race detector, pools drop items at random.
func TestBroadcastAllocsOnce(t *testing.T) {
	m := &adapter.Message{Type: adapter.MessageBroadcast, UID: "abcdef", Namespace: "/", Options: adapter.Options{Rooms: []string{"room"}}}
	m.Value.Data = []byte(`["event","` + strings.Repeat("x", 16<<10) + `"]`)
	classic := newChannels(defaultPrefix, "/", false)
	sharded := newShardedChannels(new(ShardedOptions).withDefaults(), "/")
	encodeBroadcast(m) // fills the pool
	for name, test := range map[string]struct {
		encode func()
		most   float64
	}{
		"New":        {func() { classic.encode(m) }, 3},
		"NewSharded": {func() { sharded.encode(m) }, 2},
	} {
		if allocs := testing.AllocsPerRun(100, test.encode); allocs > test.most {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
