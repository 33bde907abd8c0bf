//go:build unix

package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/myriad-rt/myriad/internal/testing/pgtest"
)

// TestPoolAfterFailure ends all connections of a pool. Connections must be tested before they are handed out.
func TestPoolAfterFailure(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	open := func(parameters string) *pgxpool.Pool {
		p, err := pgxpool.New(t.Context(), server.URL+parameters)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	admin, p := open(""), &pool{Pool: open("&pool_max_conns=4&application_name=tested")}
	acquire := func() (conns []*pgxpool.Conn) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for range 4 {
			conn, err := p.acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		return conns
	}
	for range 3 {
		for _, conn := range acquire() {
			if err := conn.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			conn.Release()
		}
		if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE application_name = 'tested'"); err != nil {
			t.Fatal(err)
		}
		p.suspect()
	}
	server.Kill()
	p.suspect()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if conn, err := p.acquire(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("without PostgreSQL: %v, %v", conn, err)
	}
}
