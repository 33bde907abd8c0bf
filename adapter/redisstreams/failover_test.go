//go:build unix

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

// TestFailover kills the master of the stream. Its replica takes over.
func TestFailover(t *testing.T) {
	t.Run("Redis Cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t)
		master := cluster.Master(cluster.Slot(t, "socket.io"))
		cluster.AddReplica(t, master)
		failOver(t, master, func() goredis.UniversalClient {
			return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: cluster.Addrs(), DialTimeout: time.Second, ReadTimeout: time.Second})
		})
	})
	t.Run("Sentinel", func(t *testing.T) {
		t.Parallel()
		w := redistest.StartWatched(t)
		failOver(t, w.Main, func() goredis.UniversalClient {
			return goredis.NewFailoverClient(&goredis.FailoverOptions{
				MasterName: "main", SentinelAddrs: []string{w.Sentinel.Addr}, DialTimeout: time.Second, ReadTimeout: time.Second,
			})
		})
	})
}

// TestSlotMigration moves the slot of the stream to another master while entries are added. No accepted entry may be lost.
func TestSlotMigration(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	tr, nodes := startTraffic(t, new(adaptertest.Log), func() goredis.UniversalClient {
		return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: cluster.Addrs()})
	})
	slot := cluster.Slot(t, "socket.io")
	from := cluster.Master(slot)
	to := cluster.Servers[0]
	if to == from {
		to = cluster.Servers[1]
	}
	for range 2 {
		cluster.Move(t, slot, from, to)
		tr.Await(t)
		from, to = to, from
	}
	for name, lost := range tr.Lost() {
		if lost > 0 && nodes[0].Stats().Failed+nodes[1].Stats().Failed == 0 {
			t.Errorf("flow %s: %d events lost", name, lost)
		}
	}
}

func startTraffic(t *testing.T, log *adaptertest.Log, connect func() goredis.UniversalClient) (*redistest.Traffic, [2]*adaptertest.Node) {
	t.Helper()
	var nodes [2]*adaptertest.Node
	for i := range nodes {
		client := connect()
		t.Cleanup(func() { client.Close() })
		nodes[i] = adaptertest.NewNode("/")
		nodes[i].Open(t, redisstreams.New(client, &redisstreams.Options{ClusterOptions: adapter.ClusterOptions{Logger: log.Logger()}}))
	}
	return redistest.StartTraffic(t, log, nodes), nodes
}

func failOver(t *testing.T, master *redistest.Server, connect func() goredis.UniversalClient) {
	t.Helper()
	log := new(adaptertest.Log)
	tr, nodes := startTraffic(t, log, connect)
	begun := time.Now()
	master.Kill()
	for _, n := range nodes {
		adaptertest.Eventually(t, func() string {
			if s := n.Stats(); s.Failed == 0 {
				return fmt.Sprintf("while the master is gone: %+v", s)
			}
			return ""
		})
	}
	tr.Await(t)
	t.Logf("lost in %v until it goes on: %v", time.Since(begun), tr.Lost())
	for _, line := range []string{streamLost, "subscriptions restored", "messages to other nodes lost"} {
		log.Await(t, line, 100)
	}
	master.Run() // as a replica
	tr.Await(t)
	for _, n := range nodes {
		adaptertest.Eventually(t, func() string {
			if got, err := n.Adapter.ServerCount(t.Context()); got != 2 || err != nil {
				return fmt.Sprintf("ServerCount: %d, %v", got, err)
			}
			return ""
		})
	}
}

// TestSilence silences the connections of a node, as when a machine dies or packets are dropped.
func TestSilence(t *testing.T) {
	t.Parallel()
	adaptertest.RunSilence(t, redistest.Start(t).Addr, func(t *testing.T, addr string, o adapter.ClusterOptions) adapter.Factory {
		client := goredis.NewClient(&goredis.Options{Addr: addr})
		t.Cleanup(func() { client.Close() })
		return redisstreams.New(client, &redisstreams.Options{ClusterOptions: o})
	})
}
