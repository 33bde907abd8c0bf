//go:build linux

package main

import (
	"context"
	"encoding/json"
	"math"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
	"github.com/myriad-rt/myriad/socketio"
)

// TestRun runs a very short benchmark.
func TestRun(t *testing.T) {
	defer func(all []int) { sizes = all }(sizes)
	sizes = []int{32}
	redistest.Start(t) // skips the test if there is no Redis
	out := t.TempDir() + "/CLUSTER.md"
	if err := run(t.Context(), 1, 200, out); err != nil {
		t.Fatal(err)
	}
}

func TestDocument(t *testing.T) {
	r := make(results)
	for _, size := range sizes {
		for _, what := range []string{"publish", "commands", "receive " + room, "receive " + emptyRoom, "rate"} {
			r.add(size, figure{what, goNode}, 2)
			r.add(size, figure{what, nodeNode}, 4)
		}
		r.add(size, figure{"pipeline 1", "redis-benchmark"}, 2)
		r.add(size, figure{"pipeline 16", "redis-benchmark"}, 8)
		r.add(size, figure{"rate", bare}, 4)
		r.add(size, figure{"lost 16", "redis-benchmark"}, float64(size/(16<<10)))
	}
	text := r.document("a machine", 0.1, 1, 10)
	if strings.Contains(text, "NaN") || strings.Count(text, "| 1.00 | 0.25 | 0.50 | reached |") != len(sizes) || strings.Count(text, unheard) != 2 {
		t.Error(text)
	}
	if text := r.document("a machine", 20, 1, 10); strings.Contains(text, "| reached") || !strings.Contains(text, "other work") {
		t.Errorf("on a busy machine: %s", text)
	}
	if got := thousands(math.NaN()); got != "" {
		t.Errorf("no figure: %q", got)
	}
}

// counted counts how often it is encoded.
type counted struct{ times *atomic.Int32 }

func (c counted) MarshalJSON() ([]byte, error) {
	c.times.Add(1)
	return json.Marshal(payload(64))
}

// TestOnceForAllNodes broadcasts to clients of three nodes: the argument is encoded once, and published once.
func TestOnceForAllNodes(t *testing.T) {
	b := &bench{ctx: t.Context(), redis: &process{addr: redistest.Start(t).Addr}}
	var nodes []*socketio.Server
	var receivers []*receiver
	for range 3 {
		client := goredis.NewClient(&goredis.Options{Addr: b.redis.addr})
		t.Cleanup(func() { client.Close() })
		io := socketio.NewServer(&socketio.Options{Adapter: redis.New(client, nil)})
		socketio.OnAck(io, "join", func(s *socketio.Socket, room string) bool { return s.Join(room) == nil })
		web := httptest.NewServer(io)
		t.Cleanup(web.Close)
		t.Cleanup(func() { io.Close() })
		r, err := newReceiver(strings.TrimPrefix(web.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.loop.Close() })
		nodes, receivers = append(nodes, io), append(receivers, r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, io := range nodes { // wait until all nodes have subscribed
		for n := 0; n < len(nodes); {
			sockets, err := io.FetchSockets(ctx)
			if n = len(sockets); ctx.Err() != nil {
				t.Fatalf("%d of %d sockets: %v", n, len(nodes), err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}

	before, err := b.published()
	if err != nil {
		t.Fatal(err)
	}
	var times atomic.Int32
	for _, r := range receivers {
		r.expect(64, 1)
	}
	if err := nodes[0].To(room).Emit("msg", counted{&times}); err != nil {
		t.Fatal(err)
	}
	for i, r := range receivers {
		if err := r.wait(); err != nil {
			t.Errorf("client of node %d: %v", i, err)
		}
	}
	after, err := b.published()
	if err != nil {
		t.Fatal(err)
	}
	if times.Load() != 1 || after-before != 1 {
		t.Errorf("encoded %d times and published %d times, want once each", times.Load(), after-before)
	}
}
