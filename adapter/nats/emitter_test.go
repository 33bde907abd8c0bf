package nats_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/nats"
	"github.com/myriad-rt/myriad/internal/testing/natstest"
)

func TestEmitter(t *testing.T) {
	for name, test := range map[string]struct {
		options nats.Options
		config  string
	}{
		"defaults": {},
		"private":  {nats.Options{Prefix: "a.b", SubscriptionMode: adapter.DynamicPrivate}, ""},
		"static":   {nats.Options{SubscriptionMode: adapter.Static}, ""},
		"in parts": {nats.Options{}, "max_payload: 80"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.Start(t, test.config)
			open := func() adapter.Factory { return nats.New(connect(t, server.URL()), &test.options) }
			adaptertest.RunEmitter(t, open, nats.NewEmitter(connect(t, server.URL()), &test.options))
		})
	}
}

func TestEmitterErrors(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	conn := connect(t, server.URL())
	e := nats.NewEmitter(conn, nil)
	if err := e.Emit("x"); err != nil {
		t.Errorf("to nobody: %v", err)
	}
	if err := e.Emit(strings.Repeat("x", adapter.MaxMessageBytes)); !errors.Is(err, nats.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := e.WithContext(ctx).Emit("x"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, natsgo.ErrConnectionClosed) {
		t.Errorf("without a server: %v", err)
	}
	conn.Close()
	if err := e.Emit("x"); !errors.Is(err, natsgo.ErrConnectionClosed) {
		t.Errorf("on a closed connection: %v", err)
	}
}
