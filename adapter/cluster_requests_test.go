package adapter_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
)

// TestNodeLeavesMeanwhile has nodes leave while they are about to be asked: nobody waits for them.
func TestNodeLeavesMeanwhile(t *testing.T) {
	bus := &adaptertest.Bus{Filter: func([]byte, string) [][]byte { return nil }}
	n := adaptertest.NewNode("/")
	n.Open(t, bus.Factory(&adapter.ClusterOptions{Heartbeat: new(adapter.HeartbeatOptions), RequestTimeout: adaptertest.Patience}))
	for what, ask := range map[string]func() error{
		"FetchSockets": func() error {
			_, err := n.Adapter.FetchSockets(context.Background(), adapter.Options{})
			return err
		},
		"BroadcastWithAck": func() error {
			_, err := n.Adapter.BroadcastWithAck(context.Background(), adaptertest.Event("x"), adapter.Options{})
			return err
		},
	} {
		for range 10_000 {
			bus.Inject("/", []byte(`{"type":1,"uid":"u","nsp":"/"}`))
			var leaving sync.WaitGroup
			leaving.Go(func() { bus.Inject("/", []byte(`{"type":13,"uid":"u","nsp":"/"}`)) })
			if err := ask(); errors.Is(err, adapter.ErrTimeout) {
				t.Fatalf("%s waits for a node that has left", what)
			}
			leaving.Wait()
		}
	}
}
