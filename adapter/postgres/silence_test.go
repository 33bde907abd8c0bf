//go:build unix

package postgres_test

import (
	"net/url"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
)

// TestSilence silences the connections of a node, as when a machine dies or packets are dropped.
func TestSilence(t *testing.T) {
	t.Parallel()
	server, err := url.Parse(pgtest.Start(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	adaptertest.RunSilence(t, server.Host, func(t *testing.T, addr string, o adapter.ClusterOptions) adapter.Factory {
		way := *server
		way.Host = addr
		return postgres.New(open(t, way.String(), nil), &postgres.Options{ClusterOptions: o})
	})
}
