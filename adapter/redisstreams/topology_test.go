package redisstreams_test

import (
	"fmt"
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

// TestSentinel runs nodes on a master found through Sentinel.
func TestSentinel(t *testing.T) {
	t.Parallel()
	client := goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: "main", SentinelAddrs: []string{redistest.StartWatched(t).Sentinel.Addr},
	})
	t.Cleanup(func() { client.Close() })
	testTopology(t, client, redisstreams.Options{})
}

// testTopology uses separate channels for each cluster of the suite. In a Redis Cluster, each master forwards ordinary
// messages to every other master on a separate connection. After all nodes of one cluster have received a message, it may
// still be on its way to a master on which the next cluster has subscribed meanwhile.
func testTopology(t *testing.T, client goredis.UniversalClient, o redisstreams.Options) {
	o.OffsetTimeout = time.Minute
	clusters := 0
	open := func(*testing.T) adapter.Factory {
		clusters++
		own := o
		own.ChannelPrefix = fmt.Sprint("test", clusters)
		return adaptertest.Processes(func() adapter.Factory { return redisstreams.New(client, &own) })
	}
	adaptertest.RunCluster(t, open)
	adaptertest.RunRecovery(t, open, 2)
}
