//go:build unix

package postgres_test

import (
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
)

func TestEmitter(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	for name, o := range map[string]*postgres.Options{
		"defaults":    nil,
		"attachments": {ChannelPrefix: `an "other" é`, TableName: `"Attachments"`, PayloadThreshold: 1},
	} {
		t.Run(name, func(t *testing.T) {
			pool := open(t, server.URL, o)
			node := func() adapter.Factory { return postgres.New(pool, o) }
			adaptertest.RunEmitter(t, node, postgres.NewEmitter(pool, o))
		})
	}
}

func TestEmitterErrors(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	pool := open(t, server.URL, nil)
	e := postgres.NewEmitter(pool, nil)
	if err := e.Emit("x"); err != nil {
		t.Errorf("to nobody: %v", err)
	}
	if err := e.Of(strings.Repeat("x", 64)).Emit("x"); err == nil {
		t.Error("a name that is too long: no error")
	}
	if err := postgres.NewEmitter(pool, &postgres.Options{TableName: "nothing"}).Emit("x", []byte("binary")); err == nil {
		t.Error("without the table: no error")
	}
	server.Kill()
	if err := e.Emit("x"); err == nil {
		t.Error("without a server: no error")
	}
}
