package redis_test

import (
	"fmt"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// TestRedisCluster runs nodes on a Redis Cluster.
func TestRedisCluster(t *testing.T) {
	for _, kind := range []string{"classic", "sharded dynamic", "sharded static"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: redistest.StartCluster(t).Addrs()})
			t.Cleanup(func() { client.Close() })
			clusters := 0
			adaptertest.RunCluster(t, func(*testing.T) adapter.Factory {
				clusters++
				open := func() adapter.Factory { return kinds[kind](client, adapter.ClusterOptions{}) }
				if kind == "classic" {
					// Messages of one test may arrive through another master after the next test has begun.
					options := redis.Options{Key: fmt.Sprint("test", clusters)}
					open = func() adapter.Factory { return redis.New(client, &options) }
				}
				return adaptertest.Processes(open)
			})
		})
	}
}

// TestSentinel runs nodes on a master found through Sentinel.
func TestSentinel(t *testing.T) {
	client := goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{redistest.StartWatched(t).Sentinel.Addr}})
	t.Cleanup(func() { client.Close() })
	for _, kind := range []string{"classic", "sharded dynamic"} {
		t.Run(kind, func(t *testing.T) {
			adaptertest.RunCluster(t, func(*testing.T) adapter.Factory {
				return adaptertest.Processes(func() adapter.Factory { return kinds[kind](client, adapter.ClusterOptions{}) })
			})
		})
	}
}
