//go:build unix

package redis_test

import (
	"fmt"
	"slices"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/redistest"
)

// TestReady opens nodes while another one broadcasts: from the moment that they are ready they miss nothing.
func TestReady(t *testing.T) {
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
			t.Cleanup(func() { client.Close() })
			from := adaptertest.NewNode("/")
			from.Open(t, open(client, adapter.ClusterOptions{}))
			for i := range 20 {
				if i == 10 {
					server.Kill()
				}
				n := adaptertest.NewNode("/")
				n.Open(t, open(client, adapter.ClusterOptions{}))
				ready := n.Adapter.(*adapter.Cluster).Ready()
				s := n.Connect("s")
				if i == 10 {
					select {
					case <-ready:
						t.Error("ready without Redis")
					default:
					}
					server.Run()
				}
				<-ready
				name := fmt.Sprint("event", i)
				adaptertest.Eventually(t, func() string {
					before := from.Stats().Failed // as the client still has connections that are gone
					if err := from.Adapter.Broadcast(adaptertest.Event(name), adapter.Options{}); err != nil {
						return err.Error()
					}
					adaptertest.Eventually(t, func() string {
						if slices.Contains(s.Take(), `2["`+name+`"]`) || from.Stats().Failed > before {
							return ""
						}
						return name + " does not arrive"
					})
					if from.Stats().Failed > before {
						return "nothing can be published"
					}
					return ""
				})
				if err := n.Adapter.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
