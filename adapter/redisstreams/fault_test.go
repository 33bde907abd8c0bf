//go:build unix

package redisstreams_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redisstreams"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// streamLost appears in the log when a stream cannot be read.
const streamLost = `"subscriptions lost" backend="Redis streams"`

// fleet is two nodes on one Redis server with one socket each, with recovery.
type fleet struct {
	server *redistest.Server
	client *goredis.Client // of the test
	log    adaptertest.Log
	nodes  [2]*adaptertest.Node
	socket [2]*adaptertest.Socket
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{server: redistest.Start(t)}
	f.client = goredis.NewClient(&goredis.Options{Addr: f.server.Addr})
	t.Cleanup(func() { f.client.Close() })
	for i := range f.nodes {
		client := goredis.NewClient(&goredis.Options{Addr: f.server.Addr, ReadTimeout: time.Second, DialTimeout: time.Second})
		t.Cleanup(func() { client.Close() })
		n := adaptertest.NewNode("/")
		n.Kept = new(adapter.RecoveryOptions)
		n.Open(t, redisstreams.New(client, &redisstreams.Options{
			BlockTime: 200 * time.Millisecond,
			ClusterOptions: adapter.ClusterOptions{
				Logger: f.log.Logger(), MaxQueuedBytes: 100_000, RequestTimeout: time.Second,
			},
		}))
		f.nodes[i], f.socket[i] = n, n.Connect(fmt.Sprint("s", i))
	}
	f.awaitTraffic(t)
	return f
}

// awaitTraffic waits until broadcasts of each node reach both nodes with an offset.
func (f *fleet) awaitTraffic(t *testing.T) {
	t.Helper()
	for i, n := range f.nodes {
		adaptertest.Eventually(t, func() string {
			_ = n.Adapter.Broadcast(adaptertest.Event("probe"), adapter.Options{})
			time.Sleep(5 * time.Millisecond)
			for k, s := range f.socket {
				texts := s.Take()
				if len(texts) == 0 || !strings.HasPrefix(texts[len(texts)-1], `2["probe","`) {
					return fmt.Sprintf("node %d to node %d: got %q\n%s", i, k, texts, f.log.String())
				}
			}
			return ""
		})
	}
}

// serveAlone checks that node 0 serves its own socket, though without offsets, and reports errors.
func (f *fleet) serveAlone(t *testing.T, count int) {
	t.Helper()
	f.socket[0].Take()
	for range count {
		if err := f.nodes[0].Adapter.Broadcast(adaptertest.Event("here"), adapter.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	got := 0
	for _, text := range f.socket[0].Take() {
		if text == `2["here"]` { // earlier events of the other node may arrive, too
			got++
		}
	}
	if got != count {
		t.Errorf("on this node: %d events, want %d", got, count)
	}
}

func (f *fleet) awaitLog(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		f.log.Await(t, line, 8)
	}
}

// TestRestart kills Redis and starts it again without its data.
func TestRestart(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.server.Kill()
	f.serveAlone(t, 100)
	adaptertest.Eventually(t, func() string {
		if s := f.nodes[0].Stats(); s.Failed == 0 {
			return fmt.Sprintf("while Redis is gone: %+v", s)
		}
		return ""
	})
	if found, err := f.nodes[0].Adapter.RestoreSession(t.Context(), "pid", "1-0"); found != nil || err == nil {
		t.Errorf("RestoreSession: %v, %v, want an error", found, err)
	}
	f.server.Run()
	f.awaitTraffic(t)
	adaptertest.Eventually(t, func() string {
		if got, err := f.nodes[0].Adapter.ServerCount(t.Context()); got != 2 || err != nil {
			return fmt.Sprintf("ServerCount: %d, %v", got, err)
		}
		return ""
	})
	f.awaitLog(t, streamLost, "subscriptions restored", "messages to other nodes lost", "sessions cannot be kept or restored")
}

// TestHang suspends Redis with its connections open.
func TestHang(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.server.Hang()
	resume := sync.OnceFunc(f.server.Resume)
	defer resume()
	f.serveAlone(t, 5000)
	if s := f.nodes[0].Stats(); s.QueuedBytes > 100_000 || s.Dropped == 0 {
		t.Errorf("while Redis hangs: %+v", s)
	}
	f.awaitLog(t, "message to other nodes dropped")
	resume()
	f.awaitTraffic(t)
}

// TestSlow blocks delivery in one namespace. Unread entries stay in the stream.
func TestSlow(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	adaptertest.RunSlow(t, true, func(o adapter.ClusterOptions) adapter.Factory {
		client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
		t.Cleanup(func() { client.Close() })
		return redisstreams.New(client, &redisstreams.Options{ClusterOptions: o})
	})
}

// TestRefusal makes Redis reject the writes of nodes.
func TestRefusal(t *testing.T) {
	for name, test := range map[string]struct{ refuse, allow []any }{
		"no stream":     {[]any{"set", "socket.io", "x"}, []any{"del", "socket.io"}},
		"out of memory": {[]any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}},
		"read only":     {[]any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			if err := f.client.Do(t.Context(), test.refuse...).Err(); err != nil {
				t.Fatal(err)
			}
			adaptertest.Eventually(t, func() string { // commands that are being executed may still succeed
				f.socket[0].Take()
				_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("x"), adapter.Options{})
				if got := f.socket[0].Take(); len(got) != 1 || got[0] != `2["x"]` {
					return fmt.Sprintf("on this node: got %q", got)
				}
				return ""
			})
			f.serveAlone(t, 100)
			adaptertest.Eventually(t, func() string {
				if s := f.nodes[0].Stats(); s.Failed == 0 {
					return fmt.Sprintf("while Redis refuses: %+v", s)
				}
				return ""
			})
			if err := f.client.Do(t.Context(), test.allow...).Err(); err != nil {
				t.Fatal(err)
			}
			f.awaitTraffic(t)
		})
	}
}

// TestCountedWhenReading starts a node that can subscribe at once but can read its stream only later. The node must not
// count before.
func TestCountedWhenReading(t *testing.T) {
	t.Parallel()
	client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
	t.Cleanup(func() { client.Close() })
	if err := client.Do(t.Context(), "acl", "setuser", "default", "-xrevrange").Err(); err != nil {
		t.Fatal(err)
	}
	var log adaptertest.Log
	n := adaptertest.NewNode("/")
	n.Open(t, redisstreams.New(client, &redisstreams.Options{ClusterOptions: adapter.ClusterOptions{Logger: log.Logger()}}))
	log.Await(t, streamLost, 1)
	for range 20 {
		if got, err := n.Adapter.ServerCount(t.Context()); got != 0 || err != nil {
			t.Fatalf("ServerCount: %d, %v, but the node does not read yet", got, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := client.Do(t.Context(), "acl", "setuser", "default", "+xrevrange").Err(); err != nil {
		t.Fatal(err)
	}
	adaptertest.Eventually(t, func() string {
		if got, err := n.Adapter.ServerCount(t.Context()); got != 1 || err != nil {
			return fmt.Sprintf("ServerCount: %d, %v", got, err)
		}
		return ""
	})
}

// TestCountedWhenAnswered starts a node that can subscribe at once to the channel by which it counts, but only later to the
// channel of answers, which is on another server of the Redis Cluster.
func TestCountedWhenAnswered(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: cluster.Addrs()})
	t.Cleanup(func() { client.Close() })
	const main = "socket.io#/#"
	permit := func(channels ...any) {
		t.Helper()
		err := client.ForEachMaster(t.Context(), func(ctx context.Context, c *goredis.Client) error {
			return c.Do(ctx, append([]any{"acl", "setuser", "default"}, channels...)...).Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	permit("resetchannels", "&"+main)
	for {
		var log adaptertest.Log
		n := adaptertest.NewNode("/")
		n.Open(t, redisstreams.New(client, &redisstreams.Options{
			ShardedPubSub: true, ClusterOptions: adapter.ClusterOptions{Logger: log.Logger()},
		}))
		own := main + n.Stats().UID + "#"
		if cluster.Master(cluster.Slot(t, own)) == cluster.Master(cluster.Slot(t, main)) {
			continue // if one connection serves both, Redis refuses both
		}
		log.Await(t, "subscriptions lost", 1)
		for range 20 {
			if got, err := n.Adapter.ServerCount(t.Context()); got != 0 || err != nil {
				t.Fatalf("ServerCount: %d, %v, but answers do not come yet", got, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		permit("allchannels")
		adaptertest.Eventually(t, func() string {
			if got, err := n.Adapter.ServerCount(t.Context()); got == 0 || err != nil {
				return fmt.Sprintf("ServerCount: %d, %v", got, err)
			}
			return ""
		})
		return
	}
}

// TestOtherStream replaces a stream by one whose entries have smaller ids.
func TestOtherStream(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	add := func(id string) {
		t.Helper()
		err := f.client.XAdd(t.Context(), &goredis.XAddArgs{Stream: "socket.io", ID: id, Values: []any{"nsp", "/other"}}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	add("99999999999999-0")
	f.awaitTraffic(t)
	if err := f.client.Del(t.Context(), "socket.io").Err(); err != nil {
		t.Fatal(err)
	}
	f.awaitTraffic(t)
	if s := f.nodes[0].Stats(); s.Lost == 0 {
		t.Errorf("the loss is not counted: %+v", s)
	}
}

// TestLostReader repeatedly cuts the reading connection of a node. The node must miss no entry.
func TestLostReader(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const count = 500
	for i := range count {
		if i%100 == 50 {
			f.killReaders(t)
		}
		if err := f.nodes[0].Adapter.Broadcast(adaptertest.Event(fmt.Sprint(i)), adapter.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	next := 0
	adaptertest.Eventually(t, func() string {
		for _, text := range f.socket[1].Take() {
			if !strings.HasPrefix(text, fmt.Sprintf(`2["%d","`, next)) {
				t.Fatalf("got %q, want %d", text, next)
			}
			next++
		}
		if next < count {
			return fmt.Sprintf("%d of %d events have come", next, count)
		}
		return ""
	})
}

// TestTrimmedMeanwhile trims unread entries while nodes cannot read. The loss must be counted.
func TestTrimmedMeanwhile(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	do := func(command ...any) {
		t.Helper()
		if err := f.client.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	do("acl", "setuser", "default", "-xread")
	f.killReaders(t)
	f.awaitLog(t, streamLost)
	before := f.nodes[0].Stats().Lost
	for range 10 {
		do("xadd", "socket.io", "*", "nsp", "/other")
	}
	do("xtrim", "socket.io", "maxlen", 1)
	do("acl", "setuser", "default", "+xread")
	f.awaitTraffic(t)
	if s := f.nodes[0].Stats(); s.Lost == before {
		t.Errorf("the loss is not counted: %+v", s)
	}
}

// killReaders makes Redis close the connections that wait for entries.
func (f *fleet) killReaders(t *testing.T) {
	t.Helper()
	list, err := f.client.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(list) {
		var id string
		reads := false
		for field := range strings.FieldsSeq(line) {
			if v, ok := strings.CutPrefix(field, "id="); ok {
				id = v
			}
			reads = reads || field == "cmd=xread"
		}
		if reads {
			_ = f.client.ClientKillByFilter(t.Context(), "id", id).Err() // the connection may be gone
		}
	}
}

// TestGarbage sends malformed messages to the stream and the channels.
func TestGarbage(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	entries := [][]any{
		{"nsp", "/"}, {"nsp", "/", "uid", "u", "type", "3"}, {"nsp", "/", "uid", "u", "type", "3", "data", "{}"},
		{"nsp", "/", "uid", "u", "type", "99", "data", "{}"}, {"nsp", "/", "uid", "u", "type", "3", "data", "\xff"},
	}
	ignored := [][]any{{"a", "b"}, {"nsp", "/unknown", "type", "3"}, {"nsp", "", "uid", "u"}}
	for _, values := range append(entries, ignored...) {
		if err := f.client.XAdd(t.Context(), &goredis.XAddArgs{Stream: "socket.io", Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	own := "socket.io#/#" + f.nodes[0].Stats().UID + "#"
	for _, channel := range []string{"socket.io#/#", own} {
		if err := f.client.Publish(t.Context(), channel, "\xc1garbage").Err(); err != nil {
			t.Fatal(err)
		}
	}
	adaptertest.Eventually(t, func() string {
		if s := f.nodes[0].Stats(); s.Malformed != uint64(len(entries)+2) {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	f.awaitTraffic(t)
	if n := strings.Count(f.log.String(), "message of another node ignored"); n != len(f.nodes) {
		t.Errorf("%d lines in the log:\n%s", n, f.log.String())
	}
}

// TestTrimming adds more entries than the stream keeps. A client whose last event is gone starts a new session.
func TestTrimming(t *testing.T) {
	t.Parallel()
	client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
	t.Cleanup(func() { client.Close() })
	n := adaptertest.NewNode("/")
	n.Kept = &adapter.RecoveryOptions{MaxDisconnection: time.Hour}
	n.Adapter = redisstreams.New(client, &redisstreams.Options{
		MaxLen: 100, ClusterOptions: adapter.ClusterOptions{OffsetTimeout: time.Hour}, // every broadcast is then in the stream
	})(n)
	t.Cleanup(func() { _ = n.Adapter.Close(context.Background()) })
	s := n.Connect("s")
	var offset string
	adaptertest.Eventually(t, func() string {
		_ = n.Adapter.Broadcast(adaptertest.Event("x"), adapter.Options{})
		text := strings.Join(s.Take(), "")
		if _, rest, ok := strings.Cut(text, `2["x","`); ok {
			offset = strings.TrimSuffix(rest, `"]`)
			return ""
		}
		return "no offset in " + text
	})
	if err := n.Adapter.PersistSession(&adapter.Session{ID: "s", PID: "pid", Rooms: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		_ = n.Adapter.Broadcast(adaptertest.Event("x"), adapter.Options{})
	}
	if length, err := client.XLen(t.Context(), "socket.io").Result(); err != nil || length > 300 {
		t.Errorf("the stream has %d entries, %v", length, err)
	}
	if ttl, err := client.PTTL(t.Context(), "sio:session:pid").Result(); err != nil || ttl > time.Hour || ttl < 50*time.Minute {
		t.Errorf("the session stays for %v, %v", ttl, err)
	}
	if found, err := n.Adapter.RestoreSession(t.Context(), "pid", offset); found != nil || err != nil {
		t.Errorf("RestoreSession: %v, %v", found, err)
	}
}

// TestRestoredOnce restores a session several times. Exactly one attempt must find it.
func TestRestoredOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	if err := f.nodes[0].Adapter.PersistSession(&adapter.Session{ID: "s", PID: "pid", Rooms: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	f.awaitTraffic(t)
	last, err := f.client.XRevRangeN(t.Context(), "socket.io", "+", "-", 1).Result()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for range 2 {
		for _, n := range f.nodes {
			r, err := n.Adapter.RestoreSession(t.Context(), "pid", last[0].ID)
			if err != nil {
				t.Error(err)
			}
			if r != nil {
				found++
			}
		}
	}
	if found != 1 {
		t.Errorf("found %d times", found)
	}
}

// TestCloseWithoutRedis creates and closes an adapter that never gets a connection.
func TestCloseWithoutRedis(t *testing.T) {
	t.Parallel()
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1", DialTimeout: time.Second})
	defer client.Close()
	adaptertest.RunUnreachable(t, streamLost, func(o adapter.ClusterOptions) adapter.Factory {
		return redisstreams.New(client, &redisstreams.Options{ClusterOptions: o})
	})
}

// TestLostAnswer loses the answer of Redis to an added entry. The entry must not be added again.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	var answers redistest.Answers
	client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr, Dialer: answers.Dial})
	t.Cleanup(func() { client.Close() })
	from, to := adaptertest.NewNode("/"), adaptertest.NewNode("/")
	from.Open(t, redisstreams.New(client, nil))
	to.Open(t, redisstreams.New(client, nil))
	answers.Lose(t, from, to.Connect("s"))
}
