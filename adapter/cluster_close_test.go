package adapter_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
)

// TestCloseWithoutTime closes an adapter with an expired context. Queued messages and the farewell reach the other
// node, unless the backend takes too long.
func TestCloseWithoutTime(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx   func(*testing.T) context.Context
		delay time.Duration // of each message
		err   error
	}{
		"cancelled":       {func(*testing.T) context.Context { return cancelled }, 100 * time.Millisecond, nil},
		"little left":     {func(t *testing.T) context.Context { return within(t, time.Millisecond) }, 100 * time.Millisecond, nil},
		"hangs":           {func(*testing.T) context.Context { return cancelled }, time.Minute, context.Canceled},
		"hangs, deadline": {func(t *testing.T) context.Context { return within(t, time.Millisecond) }, time.Minute, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var delay atomic.Int64
				bus := &adaptertest.Bus{Filter: func(payload []byte, _ string) [][]byte {
					time.Sleep(time.Duration(delay.Load()))
					return [][]byte{payload}
				}}
				x, y := pair(t, bus, &adapter.ClusterOptions{Heartbeat: new(adapter.HeartbeatOptions)})
				sy := y.Connect("y")
				synctest.Wait()
				delay.Store(int64(test.delay))
				if err := x.Adapter.Broadcast(adaptertest.Event("last"), adapter.Options{}); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				err := x.Adapter.Close(test.ctx(t))
				if !errors.Is(err, test.err) {
					t.Errorf("Close: %v, want %v", err, test.err)
				}
				if took := time.Since(start); took > 500*time.Millisecond {
					t.Errorf("Close took %v", took)
				}
				synctest.Wait()
				arrived := slices.Contains(sy.Take(), `2["last"]`)
				count, _ := y.Adapter.ServerCount(t.Context())
				if closed := test.err == nil; arrived != closed || (count == 1) != closed {
					t.Errorf("what was queued has arrived: %v; %d nodes count", arrived, count)
				}
				time.Sleep(3 * time.Minute) // until hanging operations have ended
				delay.Store(0)
			})
		})
	}
}

// within returns a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
