//go:build unix

package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/myriad-rt/myriad/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestServer(t *testing.T) {
	s := Start(t, "-c", "max_connections=7")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgconn.Connect(ctx, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, "SHOW max_connections; CREATE TABLE t (x int)").ReadAll()
	if err != nil || string(results[0].Rows[0][0]) != "7" {
		t.Fatalf("max_connections: %v, %v", results, err)
	}

	s.Hang()
	done := make(chan error, 1)
	go func() { done <- conn.Ping(ctx) }()
	select {
	case err := <-done:
		t.Errorf("a server that hangs answers: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	s.Resume()
	if err := <-done; err != nil {
		t.Errorf("after Resume: %v", err)
	}

	s.Kill()
	if err := conn.Ping(ctx); err == nil {
		t.Error("a server that was killed answers")
	}
	s.Run()
	again, err := pgconn.Connect(ctx, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(ctx)
	if _, err := again.Exec(ctx, "SELECT * FROM t").ReadAll(); err != nil {
		t.Error(err)
	}
}
