package redis_test

import (
	"context"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/internal/testing/leak"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// kinds holds the adapters of this package with the options that affect the wire format.
var kinds = map[string]func(goredis.UniversalClient, adapter.ClusterOptions) adapter.Factory{
	"classic": func(c goredis.UniversalClient, o adapter.ClusterOptions) adapter.Factory {
		return redis.New(c, &redis.Options{ClusterOptions: o})
	},
	"classic, specific channel": func(c goredis.UniversalClient, o adapter.ClusterOptions) adapter.Factory {
		return redis.New(c, &redis.Options{SpecificResponseChannel: true, Key: "a*[b]", ClusterOptions: o})
	},
	"sharded dynamic": func(c goredis.UniversalClient, o adapter.ClusterOptions) adapter.Factory {
		return redis.NewSharded(c, &redis.ShardedOptions{ClusterOptions: o})
	},
	"sharded dynamic-private": func(c goredis.UniversalClient, o adapter.ClusterOptions) adapter.Factory {
		return redis.NewSharded(c, &redis.ShardedOptions{SubscriptionMode: redis.DynamicPrivate, ClusterOptions: o})
	},
	"sharded static": func(c goredis.UniversalClient, o adapter.ClusterOptions) adapter.Factory {
		return redis.NewSharded(c, &redis.ShardedOptions{SubscriptionMode: redis.Static, ClusterOptions: o})
	},
}

func TestConformance(t *testing.T) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
			t.Cleanup(func() { client.Close() })
			adaptertest.Run(t, open(client, adapter.ClusterOptions{}))
			adaptertest.RunCluster(t, func(*testing.T) adapter.Factory {
				return adaptertest.Processes(func() adapter.Factory { return open(client, adapter.ClusterOptions{}) })
			})
		})
	}
}

// TestOldRequests sends the requests of older versions of @socket.io/redis-adapter.
func TestOldRequests(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
	t.Cleanup(func() { client.Close() })
	n := adaptertest.NewNode("/")
	n.Adapter = redis.New(client, nil)(n)
	t.Cleanup(func() { _ = n.Adapter.Close(context.Background()) })
	a, b := n.Connect("a", "r"), n.Connect("b", "b2")
	answers := client.Subscribe(t.Context(), "socket.io-response#/#")
	defer answers.Close()
	if _, err := answers.Receive(t.Context()); err != nil { // the confirmation
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if count, err := n.Adapter.ServerCount(t.Context()); err == nil && count == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the node does not subscribe")
		}
	}
	for _, test := range []struct{ request, answer string }{
		{`{"uid":"old","requestId":"1","type":0,"rooms":["r","nobody"]}`, `{"requestId":"1","sockets":["a"]}`},
		{`{"uid":"old","requestId":"2","type":2,"sid":"unknown","room":"x"}`, ""},
		{`{"uid":"old","requestId":"3","type":2,"sid":"a","room":"x"}`, `{"requestId":"3"}`},
		{`{"uid":"old","requestId":"4","type":3,"sid":"a","room":"r"}`, `{"requestId":"4"}`},
		{`{"uid":"old","requestId":"5","type":4,"sid":"b","close":true}`, `{"requestId":"5"}`},
		{`{"uid":"old","requestId":"6","type":1}`, `{"requestId":"6","rooms":["x","a"]}`},
	} {
		if err := client.Publish(t.Context(), "socket.io-request#/#", test.request).Err(); err != nil {
			t.Fatal(err)
		}
		if test.answer == "" {
			continue
		}
		got, err := answers.ReceiveTimeout(t.Context(), 30*time.Second)
		if m, ok := got.(*goredis.Message); !ok || m.Payload != test.answer {
			t.Fatalf("%s: got %v, %v, want %s", test.request, got, err, test.answer)
		}
	}
	if rooms := a.InRooms(); len(rooms) != 2 || rooms[1] != "x" || b.Reachable() {
		t.Errorf("a is in %q, b is reachable: %v", rooms, b.Reachable())
	}
}

func TestInside(t *testing.T) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
			t.Cleanup(func() { client.Close() })
			adaptertest.RunInside(t, func() adapter.Factory { return open(client, adapter.ClusterOptions{}) })
		})
	}
}

// TestMadeAnew creates namespaces one after the other on one connection.
func TestMadeAnew(t *testing.T) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
			t.Cleanup(func() { client.Close() })
			adaptertest.RunMadeAnew(t, func() adapter.Factory { return open(client, adapter.ClusterOptions{}) })
		})
	}
}
