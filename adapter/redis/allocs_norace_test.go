//go:build !race

package redis

import (
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
)

// TestBroadcastAllocsOnce encodes a broadcast. New needs what is published, and what counts its elements, but no text of the whole;
// NewSharded what is published, and the name of the channel. The race detector has pools lose what they are given.
func TestBroadcastAllocsOnce(t *testing.T) {
	m := &adapter.Message{Type: adapter.MessageBroadcast, UID: "abcdef", Namespace: "/", Options: adapter.Options{Rooms: []string{"room"}}}
	m.Value.Data = []byte(`["event","` + strings.Repeat("x", 16<<10) + `"]`)
	classic := newChannels(defaultPrefix, "/", false)
	sharded := newShardedChannels(new(ShardedOptions).withDefaults(), "/")
	encodeBroadcast(m) // there is a buffer from now on
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
