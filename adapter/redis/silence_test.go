//go:build unix

package redis_test

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// TestSilence silences the connections of a node, as when a machine dies or packets are dropped.
func TestSilence(t *testing.T) {
	for _, kind := range []string{"classic", "sharded dynamic"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			adaptertest.RunSilence(t, redistest.Start(t).Addr, func(t *testing.T, addr string, o adapter.ClusterOptions) adapter.Factory {
				client := goredis.NewClient(&goredis.Options{Addr: addr})
				t.Cleanup(func() { client.Close() })
				return kinds[kind](client, o)
			})
		})
	}
}
