//go:build unix

package redis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// mainChannel and roomChannel are the channels of the events of redistest.Traffic.
const (
	mainChannel = "socket.io#/#"
	roomChannel = "socket.io#/#room#"
)

// pair is two nodes, each with its own client. Both broadcast all the time.
type pair struct {
	*redistest.Traffic
	log   adaptertest.Log
	nodes [2]*adaptertest.Node
}

func newPair(t *testing.T, kind string, connect func() goredis.UniversalClient) *pair {
	p := new(pair)
	for i := range p.nodes {
		client := connect()
		t.Cleanup(func() { client.Close() })
		p.nodes[i] = adaptertest.NewNode("/")
		p.nodes[i].Open(t, kinds[kind](client, adapter.ClusterOptions{Logger: p.log.Logger(), RequestTimeout: time.Second}))
	}
	p.Traffic = redistest.StartTraffic(t, &p.log, p.nodes)
	p.awaitCount(t)
	return p
}

// awaitCount waits until the nodes count each other and FetchSockets finds the sockets of both.
func (p *pair) awaitCount(t *testing.T) {
	t.Helper()
	for _, n := range p.nodes {
		adaptertest.Eventually(t, func() string {
			if got, err := n.Adapter.ServerCount(t.Context()); got != 2 || err != nil {
				return fmt.Sprintf("ServerCount: %d, %v", got, err)
			}
			if got, err := n.Adapter.FetchSockets(t.Context(), adapter.Options{}); len(got) != 4 || err != nil {
				return fmt.Sprintf("FetchSockets: %v, %v", got, err)
			}
			return ""
		})
	}
}

func (p *pair) losses() (n uint64) {
	for _, n2 := range p.nodes {
		n += n2.Stats().Lost
	}
	return n
}

func connectCluster(c *redistest.Cluster) func() goredis.UniversalClient {
	return func() goredis.UniversalClient {
		return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: c.Addrs(), DialTimeout: time.Second, ReadTimeout: time.Second})
	}
}

// TestSlotMigration moves the slots of channels between masters while events are in flight.
func TestSlotMigration(t *testing.T) {
	for _, kind := range []string{"classic", "sharded dynamic", "sharded static"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			p := newPair(t, kind, connectCluster(cluster))
			for _, channel := range []string{mainChannel, roomChannel} {
				before := p.losses()
				slot := cluster.Slot(t, channel)
				from := cluster.Master(slot)
				to := cluster.Servers[0]
				if to == from {
					to = cluster.Servers[1]
				}
				for range 2 {
					cluster.Move(t, slot, from, to)
					p.Await(t)
					from, to = to, from
				}
				p.awaitCount(t)
				lost := p.Lost()
				t.Logf("lost while the slot of %s moved: %v", channel, lost)
				if kind == "classic" {
					// Ordinary subscriptions do not belong to a slot.
					if p.losses() > before {
						t.Errorf("subscriptions lost: %d", p.losses()-before)
					}
					for name, n := range lost {
						if n > 0 {
							t.Errorf("flow %s: %d events lost", name, n)
						}
					}
					continue
				}
				if channel == mainChannel && p.losses() == before {
					t.Error("the loss is not counted")
				}
				for name, n := range lost {
					// Channels in other slots are not affected. In static mode, rooms have no channel.
					other := strings.HasSuffix(name, "room") != (channel == roomChannel)
					if kind == "sharded static" {
						other = channel == roomChannel
					}
					if other && n > 0 {
						t.Errorf("flow %s: %d events lost\n%+v\n%+v\n%s", name, n, p.nodes[0].Stats(), p.nodes[1].Stats(), &p.log)
					}
				}
			}
		})
	}
}

// TestFailover kills the master that carries the events. Its replica takes over.
func TestFailover(t *testing.T) {
	for _, kind := range []string{"classic", "sharded dynamic"} {
		t.Run("Redis Cluster/"+kind, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			master := cluster.Master(cluster.Slot(t, mainChannel))
			cluster.AddReplica(t, master)
			p := newPair(t, kind, connectCluster(cluster))
			p.failOver(t, master)
		})
		t.Run("Sentinel/"+kind, func(t *testing.T) {
			t.Parallel()
			w := redistest.StartWatched(t)
			p := newPair(t, kind, func() goredis.UniversalClient {
				return goredis.NewFailoverClient(&goredis.FailoverOptions{
					MasterName: "main", SentinelAddrs: []string{w.Sentinel.Addr}, DialTimeout: time.Second, ReadTimeout: time.Second,
				})
			})
			p.failOver(t, w.Main)
		})
	}
}

func (p *pair) failOver(t *testing.T, master *redistest.Server) {
	t.Helper()
	before := p.losses()
	// Ordinary subscriptions do not belong to a slot: in a Redis Cluster, they may be on any master.
	subscribed := master.Subscribers(t) > 0
	begun := time.Now()
	master.Kill()
	adaptertest.Eventually(t, func() string {
		for _, n := range p.nodes {
			if s := n.Stats(); s.Failed == 0 {
				return fmt.Sprintf("while the master is gone: %+v", s)
			}
		}
		if subscribed && p.losses() == before {
			return "the subscriptions are not lost"
		}
		return ""
	})
	p.Await(t)
	p.awaitCount(t)
	t.Logf("lost in %v until it goes on: %v", time.Since(begun), p.Lost())
	p.log.Await(t, "messages to other nodes lost", 100)
	if subscribed {
		p.log.Await(t, "subscriptions lost", 100)
		p.log.Await(t, "subscriptions restored", 100)
	}
	// The old master returns as a replica.
	master.Run()
	p.Await(t)
	p.awaitCount(t)
}
