package redisstreams_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redisstreams"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// BenchmarkBroadcast broadcasts from one goroutine and from many to a node on the same Redis server, without and with
// recovery. An operation ends when the broadcast is queued or, with recovery, delivered on the sending node.
func BenchmarkBroadcast(b *testing.B) {
	client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(b).Addr})
	defer client.Close()
	for _, kept := range []*adapter.RecoveryOptions{nil, {}} {
		n := adaptertest.NewNode("/")
		n.Kept = kept
		n.Adapter = redisstreams.New(client, &redisstreams.Options{ClusterOptions: adapter.ClusterOptions{MaxQueuedBytes: 1 << 30}})(n)
		name := fmt.Sprintf("recovery=%v", kept != nil)
		b.Run(name+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = n.Adapter.Broadcast(adaptertest.Event("x"), adapter.Options{})
			}
		})
		b.Run(name+"/many", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(100)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_ = n.Adapter.Broadcast(adaptertest.Event("x"), adapter.Options{})
				}
			})
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // much may be queued
		if err := n.Adapter.Close(ctx); err != nil {
			b.Error(err)
		}
		cancel()
	}
}
