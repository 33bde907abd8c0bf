//go:build unix

package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/internal/testing/leak"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// open returns a pool for a database, with the table of attachments.
func open(t *testing.T, url string, o *postgres.Options) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := postgres.CreateTable(t.Context(), pool, o); err != nil {
		t.Fatal(err)
	}
	return pool
}

// TestConformance runs the suite twice: with defaults and one listening connection per node, as in separate processes, and
// with all messages in the table and one listening connection for all nodes.
func TestConformance(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	for name, o := range map[string]*postgres.Options{
		"defaults":    nil,
		"attachments": {ChannelPrefix: `an "other" é`, TableName: `"Attachments"`, PayloadThreshold: 1},
	} {
		t.Run(name, func(t *testing.T) {
			pool := open(t, server.URL, o)
			adaptertest.Run(t, postgres.New(pool, o))
			adaptertest.RunCluster(t, func(*testing.T) adapter.Factory {
				if o != nil {
					return postgres.New(pool, o)
				}
				return func(ns adapter.Namespace) adapter.Adapter { return postgres.New(pool, nil)(ns) }
			})
		})
	}
}

func TestInside(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.Start(t).URL, nil)
	adaptertest.RunInside(t, func() adapter.Factory { return postgres.New(pool, nil) })
}

// TestMadeAnew creates namespaces one after the other on one listening connection.
func TestMadeAnew(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.Start(t).URL, nil)
	adaptertest.RunMadeAnew(t, func() adapter.Factory { return postgres.New(pool, nil) })
}

func TestReady(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	pool := open(t, server.URL, nil)
	adaptertest.RunReady(t, server, func() adapter.Factory { return postgres.New(pool, nil) })
}
