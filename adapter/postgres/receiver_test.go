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

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
)

// TestSilentConnection stops PostgreSQL with its connections open, for longer than it may be silent.
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
	r := newReceiver(&pool{Pool: configured}, (&Options{ClusterOptions: adapter.ClusterOptions{Logger: log.Logger()}}).withDefaults())
	r.interval = time.Second // in which PostgreSQL answers, however busy the machine is
	var received, connected, lost atomic.Int32
	s := &subscription{
		channel: "c", handle: func([]byte) { received.Add(1) }, connected: func() { connected.Add(1) }, lost: func() { lost.Add(1) },
	}
	r.subscribe(s)
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
	time.Sleep(3 * r.interval) // a connection on which nothing happens is not given up
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
	if err := r.unsubscribe(ctx, s); err != nil {
		t.Error(err)
	}
	if n := asked.Load(); n < 2 {
		t.Errorf("BeforeConnect was called %d times", n)
	}
	if connected.Load() < 2 {
		t.Errorf("connected %d times", connected.Load())
	}
	for _, line := range []string{"connection to PostgreSQL that listens lost", "listening to PostgreSQL again"} {
		log.Await(t, line, 3)
	}
}

// TestSubscriptions has the last subscription end while the first of the next begins, and two on one channel.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	p, err := pgxpool.New(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := newReceiver(&pool{Pool: p}, (&Options{}).withDefaults())
	nop := func() {}
	received := make(chan string, 100)
	sub := func(channel, name string) *subscription {
		return &subscription{channel: channel, connected: nop, lost: nop, handle: func(payload []byte) { received <- name + string(payload) }}
	}
	for range 20 {
		s := sub("c", "s")
		r.subscribe(s)
		if err := r.unsubscribe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	subs := []*subscription{sub("a", "a1"), sub("a", "a2"), sub(`b "x"`, "b"), sub("c", "c")}
	var listening sync.WaitGroup
	for _, s := range subs {
		listening.Add(1)
		s.connected = sync.OnceFunc(listening.Done)
		r.subscribe(s)
	}
	listening.Wait()
	l := r.listener
	expect := func(want ...string) {
		t.Helper()
		for _, want := range want {
			select {
			case got := <-received:
				if got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%q does not come", want)
			}
		}
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := p.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("SELECT pg_notify('a', '1'), pg_notify('b \"x\"', '2'), pg_notify('c', '3')")
	expect("a11", "a21", "b2", "c3")
	if err := r.unsubscribe(t.Context(), subs[0]); err != nil {
		t.Fatal(err)
	}
	if err := r.unsubscribe(t.Context(), subs[3]); err != nil {
		t.Fatal(err)
	}
	exec("SELECT pg_notify('a', '4'), pg_notify('c', '5'), pg_notify('b \"x\"', '6')")
	expect("a24", "b6")
	for _, s := range subs[1:3] {
		if err := r.unsubscribe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if r.listener != nil {
		t.Error("somebody still listens")
	}
	select {
	case <-l.ended:
	default:
		t.Error("the listener has not ended")
	}
}

// TestSubscribeAgain ends a subscription and makes the next one to the same channel, at different times after PostgreSQL was
// told to end it: what is notified when that is connected arrives.
func TestSubscribeAgain(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	p, err := pgxpool.New(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := newReceiver(&pool{Pool: p}, (&Options{}).withDefaults())
	nop := func() {}
	subscribe := func(channel string, handle func([]byte)) *subscription {
		t.Helper()
		listening := make(chan struct{})
		s := &subscription{channel: channel, connected: sync.OnceFunc(func() { close(listening) }), lost: nop, handle: handle}
		r.subscribe(s)
		select {
		case <-listening:
		case <-time.After(30 * time.Second):
			t.Fatal("not connected")
		}
		return s
	}
	end := func(s *subscription) {
		t.Helper()
		if err := r.unsubscribe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	stays := subscribe("other", func([]byte) {})
	for i := range 100 {
		received := make(chan struct{})
		end(subscribe("c", func([]byte) {}))
		time.Sleep(time.Duration(i) * 5 * time.Microsecond)
		s := subscribe("c", func([]byte) { close(received) })
		if _, err := p.Exec(t.Context(), "NOTIFY c"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-received:
		case <-time.After(30 * time.Second):
			t.Fatalf("try %d: a notification is missed", i)
		}
		end(s)
	}
	end(stays)
}
