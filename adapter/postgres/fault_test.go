//go:build unix

package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
)

// TestFaults runs tests on one server. Each fleet has its own database.
func TestFaults(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	for name, test := range map[string]func(*testing.T, *pgtest.Server){
		"terminated connections":             testTerminatedConnections,
		"statement errors":                   testStatementErrors,
		"equal messages":                     testEqualMessages,
		"garbage":                            testGarbage,
		"order":                              testOrder,
		"connection lost in a message":       testConnectionLostInMessage,
		"node gone":                          testNodeGone,
		"table":                              testTable,
		"attachment after a lost connection": testAttachmentAfterLostConnection,
		"attachments that wait":              testAttachmentsThatWait,
		"pool exhausted":                     testPoolExhausted,
		"cleanup":                            testCleanup,
		"names that do not serve":            testNamesThatDoNotServe,
		"encoding of the database":           testEncodingOfDatabase,
		"close ends the connection":          testCloseEndsConnection,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, server)
		})
	}
}

// TestRestart kills PostgreSQL and starts it again.
func TestRestart(t *testing.T) {
	t.Parallel()
	f := newFleet(t, pgtest.Start(t), nil)
	f.server.Kill()
	adaptertest.ServesAlone(t, f.nodes[0], f.socket[0])
	adaptertest.Eventually(t, func() string {
		if s := f.nodes[0].Stats(); s.Failed == 0 || s.Lost != 1 {
			return fmt.Sprintf("while PostgreSQL is gone: %+v", s)
		}
		return ""
	})
	f.server.Run()
	f.awaitTraffic(t)
	for _, line := range []string{"subscriptions lost", "subscriptions restored", "messages to other nodes lost"} {
		f.log.Await(t, line, 4)
	}
	if got := f.socket[1].Take(); strings.Contains(fmt.Sprint(got), "here") {
		t.Errorf("what was lost arrives: %q", got)
	}
}

// TestSlow blocks delivery in one namespace.
func TestSlow(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	adaptertest.RunSlow(t, false, func(o adapter.ClusterOptions) adapter.Factory {
		return postgres.New(open(t, server.URL, nil), &postgres.Options{ClusterOptions: o})
	})
}

// TestHang suspends PostgreSQL with its connections open.
func TestHang(t *testing.T) {
	t.Parallel()
	f := newFleet(t, pgtest.Start(t), nil)
	third := f.join(t, f.pool(t, f.url), "/other") // another namespace, so that the nodes of "/" do not wait for it
	<-third.Adapter.(*adapter.Cluster).Ready()
	f.server.Hang()
	resume := sync.OnceFunc(f.server.Resume)
	defer resume()
	const count = 5000
	for range count {
		if err := f.nodes[0].Adapter.Broadcast(adaptertest.Event("here"), adapter.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(f.socket[0].Take()); got != count {
		t.Errorf("on this node: %d events, want %d", got, count)
	}
	if s := f.nodes[0].Stats(); s.QueuedBytes > 500_000 || s.Dropped == 0 {
		t.Errorf("while PostgreSQL hangs: %+v", s)
	}
	f.log.Await(t, "message to other nodes dropped", 4)
	// Close does not wait forever.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := third.Adapter.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	adaptertest.Eventually(t, func() string {
		if s := f.nodes[0].Stats(); s.Failed == 0 {
			return fmt.Sprintf("while PostgreSQL hangs: %+v", s)
		}
		return ""
	})
	resume()
	f.awaitTraffic(t)
}

// testTerminatedConnections repeatedly ends connections during broadcasts. Events must arrive in order and at most once.
func testTerminatedConnections(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			p := adaptertest.Event(fmt.Sprint("n", i))
			if i%10 == 0 {
				p = binaryEvent(fmt.Sprint("n", i), []byte("binary"))
			}
			_ = f.nodes[0].Adapter.Broadcast(p, adapter.Options{})
			time.Sleep(100 * time.Microsecond)
		}
	})
	last, received := -1, 0
	check := func() {
		for _, text := range f.socket[1].Take() {
			var n int
			_, name, _ := strings.Cut(text, `["n`)
			if _, err := fmt.Sscanf(name, "%d", &n); err != nil {
				continue // an event of awaitTraffic
			}
			if n <= last {
				t.Errorf("%d arrives after %d", n, last)
			}
			last = n
			received++
		}
	}
	for i := range uint64(6) { // the node waits longer each time
		adaptertest.Eventually(t, func() string {
			f.exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")
			time.Sleep(10 * time.Millisecond)
			if s := f.nodes[1].Stats(); s.Lost <= i {
				return fmt.Sprintf("connection lost %d times, want %d", s.Lost, i+1)
			}
			return ""
		})
		check()
		before := received
		adaptertest.Eventually(t, func() string {
			if check(); received < before+100 {
				return "events do not arrive any more\n" + f.log.String()
			}
			return ""
		})
	}
	stop()
	sending.Wait()
	final := 1_000_000
	adaptertest.Eventually(t, func() string {
		// A connection may end some time after the request, with one of these errors.
		final++
		_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event(fmt.Sprint("n", final)), adapter.Options{})
		if check(); last < 1_000_000 {
			return fmt.Sprintf("the last event does not arrive, but %d\n%+v\n%+v\n%s", last, f.nodes[0].Stats(), f.nodes[1].Stats(), f.log.String())
		}
		return ""
	})
}

// testStatementErrors makes statements fail in different ways. Other messages must not be lost.
func testStatementErrors(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	mixed := func() {
		for i := range 50 {
			_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event(fmt.Sprint("text", i)), adapter.Options{})
			_ = f.nodes[0].Adapter.Broadcast(binaryEvent("binary", []byte{1}), adapter.Options{})
		}
	}
	check := func(what string) {
		t.Helper()
		before := f.nodes[0].Stats()
		mixed()
		_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("end"), adapter.Options{})
		got := f.await(t, 1, `2["end"]`)
		for i := range 50 {
			if i >= len(got) || got[i] != fmt.Sprintf(`2["text%d"]`, i) {
				t.Fatalf("%s: %d events, %q", what, len(got), got)
			}
		}
		if len(got) != 50 {
			t.Errorf("%s: %d events arrived", what, len(got))
		}
		adaptertest.Eventually(t, func() string {
			if failed := f.nodes[0].Stats().Failed - before.Failed; failed != 50 {
				return fmt.Sprintf("%s: %d failed", what, failed)
			}
			return ""
		})
	}
	f.exec(t, "ALTER TABLE socket_io_attachments RENAME TO gone")
	check("without a table")
	f.log.Await(t, "socket_io_attachments", 4)
	f.exec(t, "ALTER TABLE gone RENAME TO socket_io_attachments")
	f.exec(t, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'no space left'; END $$`)
	f.exec(t, "CREATE TRIGGER full_disk BEFORE INSERT ON socket_io_attachments FOR EACH ROW EXECUTE FUNCTION full_disk()")
	check("with a full disk")
	f.exec(t, "DROP TRIGGER full_disk ON socket_io_attachments")
	f.exec(t, "ALTER TABLE socket_io_attachments ADD CHECK (id < 0) NOT VALID")
	check("with a constraint")
	f.exec(t, "ALTER TABLE socket_io_attachments DROP CONSTRAINT socket_io_attachments_id_check")
	mixed()
	_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("end"), adapter.Options{})
	if got := f.await(t, 1, `2["end"]`); len(got) != 100 {
		t.Errorf("in the end: %d events, want 100", len(got))
	}
}

// testEqualMessages broadcasts messages that PostgreSQL would merge within a transaction.
func testEqualMessages(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	for range 500 {
		_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("x"), adapter.Options{})
	}
	_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("end"), adapter.Options{})
	if got := f.await(t, 1, `2["end"]`); len(got) != 500 {
		t.Errorf("%d events, want 500", len(got))
	}
}

// testGarbage sends malformed notifications and references to malformed attachments.
func testGarbage(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	var attachments []string
	for _, payload := range [][]byte{nil, {}, []byte("\xc1"), []byte("garbage"), []byte("\x80"), []byte("{}"), bytes.Repeat([]byte{0x91}, 1_000_000),
		[]byte(`{"type":99,"uid":"u","nsp":"/"}`), []byte("\xdf\xff\xff\xff\xff"), []byte("\xc6\xff\xff\xff\xff\x00")} {
		var id int64
		if err := f.admin.QueryRow(t.Context(), "INSERT INTO socket_io_attachments (payload) VALUES ($1) RETURNING id", payload).Scan(&id); err != nil {
			t.Fatal(err)
		}
		attachments = append(attachments, fmt.Sprintf(`{"uid":"u","type":3,"attachmentId":"%d"}`, id))
	}
	garbage := append(attachments,
		"", "garbage", "{", "{}", "[]", "null", `{"type":3}`, `{"type":0,"uid":"u","nsp":"/"}`, `{"type":14,"uid":"u","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":5,"data":["x"]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"u","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["disconnect"]},"opts":{}},"uid":"u","nsp":"/"}`,
		`{"uid":"u","type":3,"attachmentId":"999999"}`, `{"uid":"u","type":3,"attachmentId":"-1"}`, `{"uid":"u","type":3,"attachmentId":"1; DROP TABLE x"}`,
		`{"uid":"u","type":3,"attachmentId":["1"]}`, strings.Repeat("[", 7000), strings.Repeat(`{"a":`, 1500),
	)
	for range 3 {
		for _, payload := range garbage {
			f.exec(t, "SELECT pg_notify('socket.io#/', $1)", payload)
		}
	}
	// These are well-formed, but for another namespace or of an unknown node. The last one is the farewell of the sending node.
	for _, payload := range []string{`{"type":6,"data":{"opts":{},"close":true},"uid":"u","nsp":"/other"}`, `{"type":2}`, `{"type":13,"uid":"nobody","nsp":"/"}`,
		`{"type":13,"uid":"u","nsp":"/"}`} {
		f.exec(t, "SELECT pg_notify('socket.io#/', $1)", payload)
	}
	for i := range f.nodes {
		adaptertest.Eventually(t, func() string {
			if s := f.nodes[i].Stats(); s.Malformed != uint64(3*len(garbage)) {
				return fmt.Sprintf("%+v, want %d malformed", s, 3*len(garbage))
			}
			return ""
		})
		if !f.socket[i].Reachable() {
			t.Errorf("the socket of node %d was disconnected", i)
		}
	}
	f.log.Await(t, "message of another node ignored", 4)
	f.awaitTraffic(t)
}

// testOrder sends attachments of different lengths among other messages. Some attachments are deleted.
func testOrder(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	f.exec(t, `CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN DELETE FROM socket_io_attachments WHERE id = NEW.id AND id % 7 = 0; RETURN NULL; END $$`)
	f.exec(t, "CREATE TRIGGER forget AFTER INSERT ON socket_io_attachments FOR EACH ROW EXECUTE FUNCTION forget()")
	var want []string
	binary := 0
	for i := range 300 {
		name := fmt.Sprint("e", i)
		p := adaptertest.Event(name)
		if i%3 > 0 {
			p = binaryEvent(name, make([]byte, 10*i))
			if binary++; binary%7 > 0 {
				want = append(want, `51-`+string(p.Data))
			}
		} else {
			want = append(want, `2`+string(p.Data))
		}
		_ = f.nodes[0].Adapter.Broadcast(p, adapter.Options{})
	}
	_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("end"), adapter.Options{})
	got := f.await(t, 1, `2["end"]`)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %d events, want %d:\n%q", len(got), len(want), got)
	}
	if s := f.nodes[1].Stats(); s.Malformed != uint64(binary/7) {
		t.Errorf("%+v, want %d malformed", s, binary/7)
	}
}

// TestTooManyConnections starts a node while PostgreSQL accepts no more connections.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	f := newFleet(t, pgtest.Start(t, "-c", "max_connections=12", "-c", "superuser_reserved_connections=0"), nil)
	pool := f.pool(t, f.url+"&pool_max_conns=12")
	var held []*pgxpool.Conn
	for {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	third := f.join(t, f.pool(t, f.url), "/")
	s := third.Connect("third")
	f.log.Await(t, "too many clients", 4)
	_ = third.Adapter.Broadcast(adaptertest.Event("here"), adapter.Options{})
	if got := s.Take(); len(got) != 1 {
		t.Errorf("on this node: %q", got)
	}
	for _, conn := range held {
		conn.Release()
	}
	pool.Close()
	awaitNodes(t, third, 3)
}

// testPoolExhausted holds the only connection of the pool.
func testPoolExhausted(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	pool := f.pool(t, f.url+"&pool_max_conns=1")
	third := f.join(t, pool, "/")
	s := third.Connect("third")
	awaitNodes(t, third, 3)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = third.Adapter.Broadcast(adaptertest.Event("here"), adapter.Options{})
	_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("there"), adapter.Options{})
	adaptertest.Eventually(t, func() string {
		if got := fmt.Sprint(s.Take()); !strings.Contains(got, "there") {
			return "what other nodes send does not arrive: " + got
		}
		return ""
	})
	conn.Release()
	f.await(t, 0, `2["here"]`)
}

// testNamesThatDoNotServe uses namespaces whose names do not form a valid channel name.
func testNamesThatDoNotServe(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	for _, name := range []string{"/" + strings.Repeat("x", 60), "/\xff", "/\x00"} {
		n := f.join(t, f.admin, name)
		s := n.Connect("s")
		p := adaptertest.Event("x")
		p.Namespace = name
		if err := n.Adapter.Broadcast(p, adapter.Options{}); err != nil || len(s.Take()) != 1 {
			t.Errorf("%.10q: Broadcast: %v", name, err)
		}
		if s := n.Stats(); s.Failed == 0 {
			t.Errorf("%.10q: %+v", name, s)
		}
		if found, err := n.Adapter.FetchSockets(t.Context(), adapter.Options{}); err != nil || len(found) != 1 {
			t.Errorf("%.10q: FetchSockets: %v, %v", name, found, err)
		}
		if err := n.Adapter.Close(t.Context()); err != nil {
			t.Errorf("%.10q: Close: %v", name, err)
		}
	}
	f.log.Await(t, "does not form a valid channel name", 4)
	f.awaitTraffic(t)
}

// testEncodingOfDatabase uses namespaces, one of them with a name that the database's encoding cannot represent.
func testEncodingOfDatabase(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	f.exec(t, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
	pool := open(t, strings.Replace(f.server.URL, "/postgres?", "/latin?", 1)+"&client_encoding=UTF8", nil)
	f.join(t, pool, "/✗")
	first, second := f.join(t, pool, "/é"), f.join(t, pool, "/é")
	for _, n := range []*adaptertest.Node{first, second} {
		awaitNodes(t, n, 2)
	}
	f.log.Await(t, "PostgreSQL rejected the name of a channel", 4)
}

// TestCloseWithoutPostgreSQL creates and closes an adapter that never gets a connection.
func TestCloseWithoutPostgreSQL(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none?connect_timeout=1&sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	adaptertest.RunUnreachable(t, "subscriptions lost", func(o adapter.ClusterOptions) adapter.Factory {
		return postgres.New(pool, &postgres.Options{ClusterOptions: o})
	})
}

// testCloseEndsConnection opens and closes namespaces of one factory.
func testCloseEndsConnection(t *testing.T, server *pgtest.Server) {
	f := newFleet(t, server, nil)
	factory := postgres.New(f.admin, &f.o)
	listening := func(want int) {
		t.Helper()
		adaptertest.Eventually(t, func() string {
			var got int
			err := f.admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^(UN)?LISTEN '").Scan(&got)
			if err != nil || got != 2+want { // including the connections of the fleet
				return fmt.Sprintf("%d connections listen, %v, want %d", got-2, err, want)
			}
			return ""
		})
	}
	for range 3 {
		a, b := adaptertest.NewNode("/a"), adaptertest.NewNode("/b")
		a.Adapter, b.Adapter = factory(a), factory(b)
		listening(1)
		if err := a.Adapter.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := b.Adapter.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		listening(0)
	}
}
