//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
)

// testTable creates the table from many nodes at once, in a schema that does not exist at first.
func testTable(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	o := &postgres.Options{TableName: `other."The table"`}
	if err := postgres.CreateTable(t.Context(), f.admin, o); err == nil || !strings.Contains(err.Error(), `schema "other" does not exist`) {
		t.Errorf("without its schema: %v", err)
	}
	f.exec(t, "CREATE SCHEMA other")
	var nodes sync.WaitGroup
	for range 10 {
		pool := f.pool(t, f.url)
		nodes.Go(func() {
			if err := postgres.CreateTable(t.Context(), pool, o); err != nil {
				t.Error(err)
			}
		})
	}
	nodes.Wait()
	// The table is the same as in Node.js.
	var columns string
	err := f.admin.QueryRow(t.Context(), `SELECT string_agg(column_name || ' ' || data_type || ' ' || coalesce(column_default, ''), ', ' ORDER BY ordinal_position)
		FROM information_schema.columns WHERE table_name = 'The table'`).Scan(&columns)
	const want = `id bigint nextval('other."The table_id_seq"'::regclass), created_at timestamp with time zone now(), payload bytea `
	if err != nil || columns != want {
		t.Errorf("got %s, %v, want %s", columns, err, want)
	}
}

// testAttachmentAfterLostConnection ends the connection that a node is about to use to fetch an attachment.
func testAttachmentAfterLostConnection(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	f.o.Heartbeat = &adapter.HeartbeatOptions{Interval: time.Hour, Timeout: time.Hour}
	third := f.join(t, f.pool(t, f.url+"&pool_max_conns=1&application_name=third"), "/")
	s := third.Connect("third")
	awaitNodes(t, third, 3)
	for i := range 5 {
		_ = third.Adapter.Broadcast(adaptertest.Event("here"), adapter.Options{})
		f.await(t, 0, `2["here"]`)
		const of = "application_name = 'third' AND datname = current_database() AND query !~ 'LISTEN'"
		f.exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "+of)
		adaptertest.Eventually(t, func() string {
			var n int
			if err := f.admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE "+of).Scan(&n); err != nil || n > 0 {
				return fmt.Sprintf("%d connections, %v", n, err)
			}
			return ""
		})
		name := fmt.Sprint("b", i)
		_ = f.nodes[0].Adapter.Broadcast(binaryEvent(name, []byte{1}), adapter.Options{})
		adaptertest.Eventually(t, func() string {
			if got := fmt.Sprint(s.Take()); !strings.Contains(got, name) {
				return fmt.Sprintf("attachment %d does not arrive\n%+v\n%+v\n%s", i, f.nodes[0].Stats(), third.Stats(), f.log.String())
			}
			return ""
		})
	}
}

// testAttachmentsThatWait locks the table while a node fetches an attachment.
func testAttachmentsThatWait(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	locked, err := f.admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locked.Rollback(context.Background()) }() // the transaction may have ended
	if _, err := locked.Exec(t.Context(), "LOCK TABLE socket_io_attachments IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	f.exec(t, "SELECT pg_notify('socket.io#/', $1)", `{"uid":"u","type":3,"attachmentId":"1"}`)
	padding := strings.Repeat("x", 7000)
	// Later messages wait, up to the bound, and arrive in order.
	sent := 0
	for ; f.nodes[1].Stats().Dropped == 0; sent++ {
		if sent == 100_000 || time.Since(start) > fetchTime {
			break
		}
		f.exec(t, "SELECT pg_notify('socket.io#/', $1)", fmt.Sprintf(
			`{"type":3,"data":{"packet":{"type":2,"data":["n%d","%s"]},"opts":{}},"uid":"u","nsp":"/"}`, sent, padding))
	}
	got := f.socket[1].Take()
	if len(got) > 0 && time.Since(start) < fetchTime {
		t.Errorf("%d events overtake the attachment", len(got))
	}
	if took := time.Since(start); f.nodes[1].Stats().Dropped == 0 && took < fetchTime {
		t.Errorf("%d messages wait, and none was dropped", sent)
	}
	adaptertest.Eventually(t, func() string {
		if s := f.nodes[1].Stats(); s.Malformed != 1 {
			return fmt.Sprintf("the attachment is still wanted: %+v", s)
		}
		return ""
	})
	if took := time.Since(start); took < fetchTime {
		t.Errorf("the attachment was given up after %v", took)
	}
	f.log.Await(t, "message of another node ignored", 4)
	if err := locked.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	adaptertest.Eventually(t, func() string {
		// The event may be dropped until the waiting messages have been handled.
		_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("end"), adapter.Options{})
		time.Sleep(5 * time.Millisecond)
		got = append(got, f.socket[1].Take()...)
		if !slices.Contains(got, `2["end"]`) {
			return fmt.Sprintf("the last event does not arrive\n%+v\n%s", f.nodes[1].Stats(), f.log.String())
		}
		return ""
	})
	got = slices.DeleteFunc(got, func(text string) bool { return text == `2["end"]` })
	last := -1
	for _, text := range got {
		n := -1
		if _, err := fmt.Sscanf(text, `2["n%d",`, &n); err != nil || n <= last {
			t.Fatalf("got %.30s after %d", text, last)
		}
		last = n
	}
	if dropped := f.nodes[1].Stats().Dropped; len(got) > sent || len(got)+int(dropped) < sent { // heartbeats may be dropped, too
		t.Errorf("%d events, and %d messages dropped, of %d", len(got), dropped, sent)
	}
}

// fetchTime is the time limit for fetching an attachment.
const fetchTime = 5 * time.Second

// testCleanup stores old attachments and newer ones, which must not be deleted yet.
func testCleanup(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	f.o.CleanupInterval = 50 * time.Millisecond
	f.exec(t, "INSERT INTO socket_io_attachments (created_at, payload) VALUES (now() - interval '1 hour', 'old'), (now() + interval '1 hour', 'new')")
	pool := f.pool(t, f.url+"&application_name=third")
	third := f.join(t, pool, "/")
	count := func(payload string) (n int) {
		if err := f.admin.QueryRow(t.Context(), "SELECT count(*) FROM socket_io_attachments WHERE payload = $1", []byte(payload)).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	adaptertest.Eventually(t, func() string {
		if n := count("old"); n > 0 {
			return fmt.Sprintf("%d old attachments", n)
		}
		return ""
	})
	if n := count("new"); n != 1 {
		t.Errorf("%d new attachments", n)
	}
	f.exec(t, "ALTER TABLE socket_io_attachments RENAME TO gone")
	f.log.Await(t, "cannot delete old attachments in PostgreSQL", 4)
	f.exec(t, "ALTER TABLE gone RENAME TO socket_io_attachments")
	if err := third.Adapter.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	// Statements sent before Close may still be executed.
	pool.Close()
	adaptertest.Eventually(t, func() string {
		var n int
		err := f.admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'third' AND datname = current_database()").Scan(&n)
		if err != nil || n > 0 {
			return fmt.Sprintf("%d connections, %v", n, err)
		}
		return ""
	})
	f.exec(t, "INSERT INTO socket_io_attachments (created_at, payload) VALUES (now() - interval '1 hour', 'old')")
	time.Sleep(200 * time.Millisecond) // four times the interval
	if n := count("old"); n != 1 {
		t.Error("a node that was closed deletes attachments")
	}
}
