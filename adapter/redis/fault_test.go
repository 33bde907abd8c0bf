//go:build unix

package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// fleet is two nodes on one Redis server with one socket each.
type fleet struct {
	server *redistest.Server
	log    adaptertest.Log
	nodes  [2]*adaptertest.Node
	socket [2]*adaptertest.Socket
}

func newFleet(t *testing.T, kind string) *fleet {
	f := &fleet{server: redistest.Start(t)}
	o := adapter.ClusterOptions{
		Logger: f.log.Logger(), MaxQueuedBytes: 100_000, RequestTimeout: time.Second,
	}
	for i := range f.nodes {
		client := goredis.NewClient(&goredis.Options{Addr: f.server.Addr, ReadTimeout: time.Second, DialTimeout: time.Second})
		t.Cleanup(func() { client.Close() })
		n := adaptertest.NewNode("/")
		n.Open(t, kinds[kind](client, o))
		f.nodes[i], f.socket[i] = n, n.Connect(fmt.Sprint("s", i))
	}
	f.awaitTraffic(t)
	return f
}

// awaitTraffic waits until broadcasts of each node reach the other.
func (f *fleet) awaitTraffic(t *testing.T) {
	t.Helper()
	for i, n := range f.nodes {
		probe := fmt.Sprint("probe", i) // a node's own events prove nothing
		f.socket[1-i].Take()
		adaptertest.Eventually(t, func() string {
			_ = n.Adapter.Broadcast(adaptertest.Event(probe), adapter.Options{})
			time.Sleep(5 * time.Millisecond)
			if got := f.socket[1-i].Take(); !slices.Contains(got, `2["`+probe+`"]`) {
				return fmt.Sprintf("node %d does not reach the other: got %q\n%s", i, got, f.log.String())
			}
			return ""
		})
	}
}

// TestRestart kills Redis and starts it again.
func TestRestart(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, kind)
			f.server.Kill()
			adaptertest.ServesAlone(t, f.nodes[0], f.socket[0])
			adaptertest.Eventually(t, func() string {
				if s := f.nodes[0].Stats(); s.Failed == 0 || s.Lost != 1 {
					return fmt.Sprintf("while Redis is gone: %+v", s)
				}
				return ""
			})
			f.server.Run()
			f.awaitTraffic(t)
			adaptertest.Eventually(t, func() string {
				if got, err := f.nodes[0].Adapter.ServerCount(t.Context()); got != 2 || err != nil {
					return fmt.Sprintf("ServerCount: %d, %v", got, err)
				}
				return ""
			})
			for _, line := range []string{"subscriptions lost", "subscriptions restored", "messages to other nodes lost"} {
				f.log.Await(t, line, 4)
			}
		})
	}
}

// TestHang suspends Redis with its connections open.
func TestHang(t *testing.T) {
	f := newFleet(t, "classic")
	f.server.Hang()
	resumed := false
	defer func() {
		if !resumed {
			f.server.Resume()
		}
	}()
	f.socket[0].Take()
	const count = 5000 // waiting for each would take hours
	for range count {
		if err := f.nodes[0].Adapter.Broadcast(adaptertest.Event("here"), adapter.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	got := 0
	for _, text := range f.socket[0].Take() {
		if text == `2["here"]` { // earlier events of the other node may arrive, too
			got++
		}
	}
	if got != count {
		t.Errorf("on this node: %d events, want %d", got, count)
	}
	if s := f.nodes[0].Stats(); s.QueuedBytes > 100_000 || s.Dropped == 0 {
		t.Errorf("while Redis hangs: %+v", s)
	}
	if !strings.Contains(f.log.String(), "message to other nodes dropped") {
		t.Errorf("log:\n%s", f.log.String())
	}
	f.server.Resume()
	resumed = true
	f.awaitTraffic(t)
}

// TestSlow blocks delivery in one namespace.
func TestSlow(t *testing.T) {
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			adaptertest.RunSlow(t, false, func(o adapter.ClusterOptions) adapter.Factory {
				client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
				t.Cleanup(func() { client.Close() })
				return open(client, o)
			})
		})
	}
}

// TestGarbage publishes malformed messages.
func TestGarbage(t *testing.T) {
	for kind, channels := range map[string][]string{
		"classic":        {"socket.io#/#", "socket.io-request#/#", "socket.io-response#/#", "socket.io#/#s0#"},
		"sharded static": {"socket.io#/#"},
	} {
		f := newFleet(t, kind)
		client := goredis.NewClient(&goredis.Options{Addr: f.server.Addr})
		defer client.Close()
		for _, channel := range channels {
			publish := client.Publish
			if kind != "classic" {
				publish = client.SPublish
			}
			if err := publish(t.Context(), channel, "\xc1garbage").Err(); err != nil {
				t.Fatal(err)
			}
		}
		adaptertest.Eventually(t, func() string {
			if s := f.nodes[0].Stats(); s.Malformed != uint64(len(channels)) {
				return fmt.Sprintf("%s: %+v", kind, s)
			}
			return ""
		})
		f.awaitTraffic(t)
	}
}

// TestCloseWithoutRedis creates and closes an adapter that never gets a connection.
func TestCloseWithoutRedis(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1", DialTimeout: time.Second})
	defer client.Close()
	adaptertest.RunUnreachable(t, "subscriptions lost", func(o adapter.ClusterOptions) adapter.Factory {
		return redis.New(client, &redis.Options{ClusterOptions: o})
	})
}

// TestLostAnswer loses the answer of Redis to a published message. The message must not be sent again.
func TestLostAnswer(t *testing.T) {
	server, cluster := redistest.Start(t), redistest.StartCluster(t)
	for _, kind := range []string{"classic", "sharded dynamic"} {
		var answers redistest.Answers
		for topology, client := range map[string]goredis.UniversalClient{
			"one server":    goredis.NewClient(&goredis.Options{Addr: server.Addr, Dialer: answers.Dial}),
			"Redis Cluster": goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: cluster.Addrs(), Dialer: answers.Dial}),
		} {
			t.Run(kind+"/"+topology, func(t *testing.T) {
				t.Cleanup(func() { client.Close() })
				from, to := adaptertest.NewNode("/"), adaptertest.NewNode("/")
				from.Open(t, kinds[kind](client, adapter.ClusterOptions{}))
				to.Open(t, kinds[kind](client, adapter.ClusterOptions{}))
				answers.Lose(t, from, to.Connect("s"))
			})
		}
	}
}
