//go:build unix

package redispubsub

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/subscribe"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// owner counts calls of Lost.
type owner struct{ lost atomic.Int32 }

func (o *owner) IsOwn([]byte) bool { return false }
func (o *owner) Connected()        {}
func (o *owner) Lost()             { o.lost.Add(1) }
func (o *owner) Dropped(int)       {}

// TestSilentConnection suspends Redis with its connections open until the receiver gives the connection up, while
// subscriptions change.
func TestSilentConnection(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr, DialTimeout: time.Second, ReadTimeout: time.Second, MaxRetries: -1,
	})
	defer client.Close()
	var log adaptertest.Log
	const interval = time.Second // enough for an answer to PING on a busy machine
	r := NewReceiver(client, false, subscribe.Options{Logger: log.Logger(), Interval: interval})
	var received atomic.Int32
	var o owner
	m := r.NewMember(func(batch []subscribe.Message) { received.Add(int32(len(batch))) })
	m.Join(&o, "c")
	receives := func() bool {
		before := received.Load()
		_ = client.Publish(t.Context(), "c", "x").Err() // Redis may not be ready yet
		time.Sleep(5 * time.Millisecond)
		return received.Load() > before
	}
	log.Until(t, "a message", receives)
	time.Sleep(3 * interval) // an idle connection is kept
	if n := o.lost.Load(); n > 0 {
		t.Errorf("lost %d times", n)
	}
	server.Hang()
	log.Until(t, "the loss", func() bool {
		m.Subscribe("other") // must not postpone the detection
		m.Unsubscribe("other")
		return o.lost.Load() == 1
	})
	server.Resume()
	log.Until(t, "a message after the loss", receives)
	ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"subscriptions lost", "subscriptions restored"} {
		log.Await(t, line, 3)
	}
}

// TestNoRedis subscribes without a Redis server and closes. The log must not report restored subscriptions.
func TestNoRedis(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer client.Close()
	var log adaptertest.Log
	m := NewReceiver(client, false, subscribe.Options{Logger: log.Logger()}).NewMember(nil)
	m.Join(new(owner), "c")
	log.Await(t, "subscriptions lost", 100)
	ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	if text := log.String(); strings.Contains(text, "restored") {
		t.Errorf("log:\n%s", text)
	}
}
