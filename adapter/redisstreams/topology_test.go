package redisstreams_test

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redisstreams"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// TestRedisCluster runs nodes on a Redis Cluster.
func TestRedisCluster(t *testing.T) {
	for _, name := range []string{"sharded", "three streams"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: redistest.StartCluster(t).Addrs()})
			t.Cleanup(func() { client.Close() })
			testTopology(t, client, kinds[name])
		})
	}
}

// TestSentinel runs nodes on a master that a Sentinel knows.
func TestSentinel(t *testing.T) {
	t.Parallel()
	client := goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: "main", SentinelAddrs: []string{redistest.StartWatched(t).Sentinel.Addr},
	})
	t.Cleanup(func() { client.Close() })
	testTopology(t, client, redisstreams.Options{})
}

func testTopology(t *testing.T, client goredis.UniversalClient, o redisstreams.Options) {
	o.OffsetTimeout = time.Minute
	open := func(*testing.T) adapter.Factory {
		return adaptertest.Processes(func() adapter.Factory { return redisstreams.New(client, &o) })
	}
	adaptertest.RunCluster(t, open)
	adaptertest.RunRecovery(t, open, 2)
}
