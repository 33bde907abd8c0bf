//go:build unix

package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// binaryEvent returns an event that is sent through the table.
func binaryEvent(name string, attachment []byte) *parser.Packet {
	p := adaptertest.Event(name)
	p.Data = []byte(`["` + name + `",{"_placeholder":true,"num":0}]`)
	p.Attachments = [][]byte{attachment}
	return p
}

// fleet is two nodes on one database with one socket each.
type fleet struct {
	server *pgtest.Server
	url    string
	log    adaptertest.Log
	o      postgres.Options
	admin  *pgxpool.Pool // used by the test only
	nodes  [2]*adaptertest.Node
	socket [2]*adaptertest.Socket
}

// newFleet connects the nodes of a new fleet. way, if not nil, returns the connection string for node i. It replaces the
// server's.
func newFleet(t *testing.T, server *pgtest.Server, way func(i int, url string) string) *fleet {
	f := &fleet{server: server}
	f.o.ClusterOptions = adapter.ClusterOptions{
		Logger: f.log.Logger(), MaxQueuedBytes: 500_000, MaxPendingBytes: 8 << 20, RequestTimeout: time.Second,
		Heartbeat: &adapter.HeartbeatOptions{Interval: 100 * time.Millisecond, Timeout: 10 * time.Second},
	}
	first := open(t, server.URL, nil)
	name := "fleet" + strconv.Itoa(int(fleets.Add(1)))
	if _, err := first.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	f.url = strings.Replace(server.URL, "/postgres?", "/"+name+"?", 1)
	f.admin = open(t, f.url, nil)
	for i := range f.nodes {
		url := f.url
		if way != nil {
			url = way(i, url)
		}
		f.nodes[i] = f.join(t, f.pool(t, url), "/")
		f.socket[i] = f.nodes[i].Connect(fmt.Sprint("s", i))
	}
	f.awaitTraffic(t)
	return f
}

var fleets atomic.Int32

// pool returns a new pool.
func (f *fleet) pool(t *testing.T, url string) *pgxpool.Pool {
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// join returns a node that is closed when the test ends.
func (f *fleet) join(t *testing.T, pool *pgxpool.Pool, namespace string) *adaptertest.Node {
	n := adaptertest.NewNode(namespace)
	n.Open(t, postgres.New(pool, &f.o))
	return n
}

// awaitTraffic waits until broadcasts of each node reach the other and both count two nodes.
func (f *fleet) awaitTraffic(t *testing.T) {
	t.Helper()
	for i, n := range f.nodes {
		name := fmt.Sprint("probe", i)
		adaptertest.Eventually(t, func() string {
			_ = n.Adapter.Broadcast(adaptertest.Event(name), adapter.Options{})
			time.Sleep(5 * time.Millisecond)
			if !slices.Contains(f.socket[1-i].Take(), `2["`+name+`"]`) {
				return fmt.Sprintf("node %d does not reach the other\n%s", i, f.log.String())
			}
			if count, err := n.Adapter.ServerCount(t.Context()); count != 2 || err != nil {
				return fmt.Sprintf("node %d: ServerCount %d, %v", i, count, err)
			}
			return ""
		})
	}
	f.fence(t)
}

// fence waits until all earlier broadcasts have arrived, and discards them.
func (f *fleet) fence(t *testing.T) {
	t.Helper()
	for i, n := range f.nodes {
		_ = n.Adapter.Broadcast(adaptertest.Event("fence"), adapter.Options{})
		f.await(t, 1-i, `2["fence"]`)
		f.socket[i].Take()
	}
}

// await waits until the socket of node i has received a text. It returns the texts received before.
func (f *fleet) await(t *testing.T, i int, text string) (before []string) {
	t.Helper()
	adaptertest.Eventually(t, func() string {
		for _, got := range f.socket[i].Take() {
			if got == text {
				return ""
			}
			before = append(before, got)
		}
		return fmt.Sprintf("%s does not arrive\n%+v\n%+v\n%s", text, f.nodes[0].Stats(), f.nodes[1].Stats(), f.log.String())
	})
	return before
}

func (f *fleet) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := f.admin.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

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

// proxy is a proxy between a node and PostgreSQL.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup
	left     atomic.Int64 // bytes to PostgreSQL until connections are cut, if not negative
	silent   atomic.Bool  // nothing is passed on

	mu    sync.Mutex
	conns []net.Conn
}

// through starts a proxy and returns the connection string that leads through it.
func (p *proxy) through(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p.target = u.Host
	p.left.Store(-1)
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.running.Go(func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.target)
			if err != nil {
				conn.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn, server)
			p.mu.Unlock()
			p.running.Go(func() { p.pass(server, conn, true) })
			p.running.Go(func() { p.pass(conn, server, false) })
		}
	})
	t.Cleanup(func() {
		p.listener.Close()
		p.cut()
		p.running.Wait()
	})
	u.Host = p.listener.Addr().String()
	return u.String()
}

func (p *proxy) pass(to, from net.Conn, up bool) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if up && p.left.Load() >= 0 && p.left.Add(int64(-n)) < 0 {
			n = max(n-1, 0)
			p.left.Store(-1)
			_, _ = to.Write(buffer[:n])
			p.cut()
			return
		}
		if p.silent.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		conn.Close()
	}
	p.conns = nil
}

// testConnectionLostInMessage cuts the connections of a node in the middle of a long message.
func testConnectionLostInMessage(t *testing.T, server *pgtest.Server) {
	var p proxy
	f := newFleet(t, server, func(i int, url string) string {
		if i == 0 {
			return p.through(t, url)
		}
		return url
	})
	before := f.nodes[0].Stats()
	p.left.Store(200_000)
	_ = f.nodes[0].Adapter.Broadcast(binaryEvent("long", make([]byte, 400_000)), adapter.Options{})
	adaptertest.Eventually(t, func() string {
		if s := f.nodes[0].Stats(); s.Failed == before.Failed || s.Lost != 1 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	adaptertest.Eventually(t, func() string {
		_ = f.nodes[0].Adapter.Broadcast(binaryEvent("next", make([]byte, 400_000)), adapter.Options{})
		time.Sleep(10 * time.Millisecond)
		for _, text := range f.socket[1].Take() {
			if strings.Contains(text, "next") {
				return ""
			}
			if strings.Contains(text, "long") {
				t.Error("what was cut off arrives")
			}
		}
		return "the next message does not arrive"
	})
}

// testNodeGone makes a node vanish without a farewell during a request.
func testNodeGone(t *testing.T, server *pgtest.Server) {
	var p proxy
	f := newFleet(t, server, func(i int, url string) string {
		if i == 1 {
			return p.through(t, url)
		}
		return url
	})
	short := f.o
	short.Heartbeat = &adapter.HeartbeatOptions{Interval: 100 * time.Millisecond, Timeout: 3 * time.Second}
	f.o = short
	third := f.join(t, f.pool(t, f.url), "/")
	third.Connect("third")
	awaitNodes(t, third, 3)
	p.silent.Store(true)
	// The other node's answer arrives. The request ends as soon as the vanished node no longer counts.
	ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
	defer cancel()
	found, err := third.Adapter.FetchSockets(ctx, adapter.Options{})
	if err != nil || len(found) != 2 {
		t.Errorf("FetchSockets: %v, %v", found, err)
	}
	if text := f.log.String(); !strings.Contains(text, "node has fallen silent") {
		t.Errorf("the node is not waited for\n%s", text)
	}
	if n, _ := third.Adapter.ServerCount(t.Context()); n != 2 {
		t.Errorf("ServerCount: %d, want 2", n)
	}
	p.silent.Store(false)
	p.cut()
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
