//go:build unix

package postgres

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/subscribe"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
)

// owner implements subscribe.Owner.
type owner struct{ connected, lost func() }

func (o owner) IsOwn([]byte) bool { return false }
func (o owner) Connected()        { o.connected() }
func (o owner) Lost()             { o.lost() }
func (o owner) Dropped(int)       {}

// TestSilentConnection suspends PostgreSQL with its connections open until the receiver gives the connection up.
func TestSilentConnection(t *testing.T) {
	server := pgtest.Start(t)
	p, err := pgxpool.New(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var asked atomic.Int32
	config := p.Config()
	config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		asked.Add(1)
		return nil
	}
	configured, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer configured.Close()

	var log adaptertest.Log
	const interval = time.Second // enough for an answer on a busy machine
	r := subscribe.New(newDriver(&pool{Pool: configured}, (&Options{}).withDefaults()), subscribe.Options{Logger: log.Logger(), Interval: interval})
	var received, connected, lost atomic.Int32
	m := r.NewMember(func(batch []subscribe.Message) { received.Add(int32(len(batch))) })
	m.Join(owner{func() { connected.Add(1) }, func() { lost.Add(1) }}, "c")
	receives := func() bool {
		before := received.Load()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = p.Exec(ctx, "NOTIFY c") // PostgreSQL may not be ready yet
		time.Sleep(5 * time.Millisecond)
		return received.Load() > before
	}
	log.Until(t, "a message", receives)
	connections := connected.Load()
	time.Sleep(3 * interval) // an idle connection is kept
	if n := connected.Load(); n != connections {
		t.Errorf("connected %d times", n)
	}
	before := lost.Load()
	server.Hang()
	log.Until(t, "the loss", func() bool { return lost.Load() > before })
	server.Resume()
	log.Until(t, "a message after the loss", receives)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	if n := asked.Load(); n < 2 {
		t.Errorf("BeforeConnect was called %d times", n)
	}
	if connected.Load() < 2 {
		t.Errorf("connected %d times", connected.Load())
	}
	for _, line := range []string{"subscriptions lost", "subscriptions restored"} {
		log.Await(t, line, 3)
	}
}

// listen returns a member that listens to a channel.
func listen(t *testing.T, r *subscribe.Receiver, channel string, handle func(payload string)) *subscribe.Member {
	t.Helper()
	listening := make(chan struct{})
	m := r.NewMember(func(batch []subscribe.Message) {
		for _, m := range batch {
			handle(string(m.Payload))
		}
	})
	m.Join(owner{sync.OnceFunc(func() { close(listening) }), func() {}}, channel)
	select {
	case <-listening:
	case <-time.After(adaptertest.Patience):
		t.Fatal("not connected")
	}
	return m
}

func leave(t *testing.T, m *subscribe.Member) {
	t.Helper()
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestSubscriptions uses two members on one channel and channels whose names need quoting.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	p, err := pgxpool.New(t.Context(), pgtest.Start(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := newReceiver(&pool{Pool: p}, (&Options{}).withDefaults())
	var members []*subscribe.Member
	var received []chan string
	for _, channel := range []string{"a", "a", `b "x"`, "c"} {
		got := make(chan string, 10)
		received = append(received, got)
		members = append(members, listen(t, r, channel, func(payload string) { got <- payload }))
	}
	expect := func(i int, want string) {
		t.Helper()
		select {
		case got := <-received[i]:
			if got != want {
				t.Fatalf("member %d got %q, want %q", i, got, want)
			}
		case <-time.After(adaptertest.Patience):
			t.Fatalf("%q does not come to member %d", want, i)
		}
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := p.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("SELECT pg_notify('a', '1'), pg_notify('b \"x\"', '2'), pg_notify('c', '3')")
	for i, want := range []string{"1", "1", "2", "3"} {
		expect(i, want)
	}
	leave(t, members[0])
	leave(t, members[3])
	exec("SELECT pg_notify('a', '4'), pg_notify('c', '5'), pg_notify('b \"x\"', '6')")
	expect(1, "4")
	expect(2, "6")
	leave(t, members[1])
	leave(t, members[2])
	for i, got := range received {
		if len(got) > 0 {
			t.Errorf("member %d got %q, too", i, <-got)
		}
	}
}

// TestSubscribeAgain ends a subscription and subscribes to the same channel again after different delays. Notifications sent
// after Connected must arrive.
func TestSubscribeAgain(t *testing.T) {
	t.Parallel()
	p, err := pgxpool.New(t.Context(), pgtest.Start(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := newReceiver(&pool{Pool: p}, (&Options{}).withDefaults())
	ignore := func(string) {}
	stays := listen(t, r, "other", ignore)
	for i := range 100 {
		leave(t, listen(t, r, "c", ignore))
		time.Sleep(time.Duration(i) * 5 * time.Microsecond)
		received := make(chan struct{})
		m := listen(t, r, "c", func(string) { close(received) })
		if _, err := p.Exec(t.Context(), "NOTIFY c"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-received:
		case <-time.After(adaptertest.Patience):
			t.Fatalf("try %d: a notification is missed", i)
		}
		leave(t, m)
	}
	leave(t, stays)
}
