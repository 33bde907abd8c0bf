package redisstreams_test

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redisstreams"
	"github.com/myriad-rt/myriad/internal/testing/leak"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// kinds holds the options that affect the wire format.
var kinds = map[string]redisstreams.Options{
	"default":        {},
	"sharded":        {ShardedPubSub: true, ChannelPrefix: "a*[b]"},
	"three streams":  {StreamCount: 3, StreamName: "s"},
	"entry by entry": {ReadCount: 1},
}

func TestConformance(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
			t.Cleanup(func() { client.Close() })
			adaptertest.Run(t, redisstreams.New(client, &o))
			adaptertest.RunCluster(t, func(*testing.T) adapter.Factory {
				return adaptertest.Processes(func() adapter.Factory { return redisstreams.New(client, &o) })
			})
			o.OffsetTimeout = time.Minute
			adaptertest.RunRecovery(t, func(*testing.T) adapter.Factory {
				return adaptertest.Processes(func() adapter.Factory { return redisstreams.New(client, &o) })
			}, 1, 2, 3)
		})
	}
}

func TestInside(t *testing.T) {
	t.Parallel()
	client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
	t.Cleanup(func() { client.Close() })
	adaptertest.RunInside(t, func() adapter.Factory { return redisstreams.New(client, nil) })
}

// TestMadeAnew creates namespaces one after the other on one reader and one connection for channels.
func TestMadeAnew(t *testing.T) {
	t.Parallel()
	client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
	t.Cleanup(func() { client.Close() })
	adaptertest.RunMadeAnew(t, func() adapter.Factory { return redisstreams.New(client, nil) })
}

func TestReady(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	t.Cleanup(func() { client.Close() })
	adaptertest.RunReady(t, server, func() adapter.Factory { return redisstreams.New(client, nil) })
}
