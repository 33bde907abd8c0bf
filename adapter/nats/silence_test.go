//go:build unix

package nats_test

import (
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/nats"
	"github.com/myriad-rt/myriad/internal/testing/natstest"
)

// TestSilence silences the connection of a node, as when a machine dies or packets are dropped.
func TestSilence(t *testing.T) {
	t.Parallel()
	adaptertest.RunSilence(t, natstest.Start(t).Addr, func(t *testing.T, addr string, o adapter.ClusterOptions) adapter.Factory {
		return nats.New(connect(t, "nats://"+addr, natsgo.PingInterval(time.Second)), &nats.Options{ClusterOptions: o})
	})
}
