package adapter_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// TestNodeLeavesMeanwhile lets nodes leave just before they receive a request. The request does not wait for them.
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

// TestRequestsAreForgotten lets requests end in each way: none is kept, nor is the acknowledgement that a client owes.
func TestRequestsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(archive)
		n := adaptertest.NewNode("/")
		n.Open(t, func(ns adapter.Namespace) adapter.Adapter {
			return adapter.NewCluster(ns, &adapter.ClusterOptions{Heartbeat: new(adapter.HeartbeatOptions)}, a)
		})
		s := n.Connect("s") // which does not answer
		a.node.Receive(&adapter.Message{Type: adapter.MessageInitialHeartbeat, UID: "silent", Namespace: "/"}, nil)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		for _, ctx := range []context.Context{within(t, time.Second), cancelled} {
			if _, err := n.Adapter.BroadcastWithAck(ctx, adaptertest.Event("x"), adapter.Options{}); err == nil {
				t.Error("BroadcastWithAck: no error")
			}
			if _, err := n.Adapter.FetchSockets(ctx, adapter.Options{}); err == nil {
				t.Error("FetchSockets: no error")
			}
			if _, err := n.Adapter.ServerSideEmitWithAck(ctx, parser.Args{Data: []byte(`["x"]`)}); err == nil {
				t.Error("ServerSideEmitWithAck: no error")
			}
		}
		if a.node.Awaits("") {
			t.Error("a request is kept after its end")
		}
		if n := s.Pending(); n > 0 {
			t.Errorf("%d acknowledgements are still waited for", n)
		}
	})
}
