//go:build unix

package pubsub

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// TestSilentConnection stops Redis with its connections open, for longer than it may be silent, while subscriptions change.
func TestSilentConnection(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr, DialTimeout: time.Second, ReadTimeout: time.Second, MaxRetries: -1,
	})
	defer client.Close()
	var log adaptertest.Log
	r := NewReceiver(client, false, log.Logger())
	r.interval = time.Second // in which Redis answers a PING, however busy the machine is
	var received, lost atomic.Int32
	r.Subscribe("c", &Subscription{
		Handle: func(string, []byte) { received.Add(1) },
		Lost:   func() { lost.Add(1) },
	})
	receives := func() bool {
		before := received.Load()
		_ = client.Publish(t.Context(), "c", "x").Err() // Redis may not be ready yet
		time.Sleep(5 * time.Millisecond)
		return received.Load() > before
	}
	log.Until(t, "a message", receives)
	time.Sleep(3 * r.interval) // a connection on which nothing happens is not given up
	if n := lost.Load(); n > 0 {
		t.Errorf("lost %d times", n)
	}
	server.Hang()
	log.Until(t, "the loss", func() bool {
		r.Subscribe("other", &Subscription{Handle: func(string, []byte) {}}) // which is not to put it off
		r.Unsubscribe(nil, "other")
		return lost.Load() == 1
	})
	server.Resume()
	log.Until(t, "a message after the loss", receives)
	r.Unsubscribe(nil, "c")
	ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"subscription to Redis lost", "subscribed to Redis again"} {
		log.Await(t, line, 3)
	}
}

// TestNoRedis subscribes where there is no Redis, and gives up: nothing says that it is there again.
func TestNoRedis(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer client.Close()
	var log adaptertest.Log
	r := NewReceiver(client, false, log.Logger())
	r.Subscribe("c", &Subscription{Handle: func(string, []byte) {}})
	log.Await(t, "subscription to Redis lost", 100)
	r.Unsubscribe(nil, "c")
	ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		t.Error(err)
	}
	if text := log.String(); strings.Contains(text, "again") {
		t.Errorf("log:\n%s", text)
	}
}
