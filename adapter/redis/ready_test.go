//go:build unix

package redis_test

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

func TestReady(t *testing.T) {
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
			t.Cleanup(func() { client.Close() })
			adaptertest.RunReady(t, server, func() adapter.Factory { return open(client, adapter.ClusterOptions{}) })
		})
	}
}
