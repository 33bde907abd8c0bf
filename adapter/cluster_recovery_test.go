package adapter_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// archive is a Keeper controlled by a test, which decides when published messages come back.
type archive struct {
	node adapter.Node
	fail error // of Publish

	mu        sync.Mutex
	published []string
}

func (a *archive) Start(n adapter.Node) { a.node = n }

func (a *archive) Encode(m *adapter.Message) (adapter.Outgoing, error) {
	return adapter.Outgoing{Type: m.Type, Payload: m.Append(nil)}, nil
}

func (a *archive) Publish(_ context.Context, batch []adapter.Outgoing) (int, error) {
	if a.fail != nil {
		return 0, a.fail
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, out := range batch {
		a.published = append(a.published, string(out.Payload))
	}
	return len(batch), nil
}

func (a *archive) ServerCount(context.Context) (int, error) { return 1, nil }
func (a *archive) Close(context.Context) error              { return nil }
func (a *archive) PersistSession(*adapter.Session) error    { return nil }
func (a *archive) returned(payload, offset string)          { a.node.ReceiveOwn(payload, offset) }
func (a *archive) TakeSession(context.Context, string, string) (*adapter.Session, error) {
	return nil, nil
}
func (a *archive) CatchUp(context.Context, *adapter.Session, string, func([]*parser.Packet)) error {
	return nil
}

func value(text string) parser.Value { return parser.Value{Data: []byte(text)} }

// newArchive returns a node that recovers and a socket of it.
func newArchive(t *testing.T) (*archive, *adaptertest.Node, *adaptertest.Socket) {
	a := new(archive)
	n := adaptertest.NewNode("/")
	n.Kept = new(adapter.RecoveryOptions)
	n.Adapter = adapter.NewCluster(n, &adapter.ClusterOptions{Logger: slog.New(slog.DiscardHandler)}, a)
	t.Cleanup(func() { _ = n.Adapter.Close(context.Background()) })
	return a, n, n.Connect("s")
}

// start broadcasts on a goroutine of its own and returns when nothing happens any more.
func start(t *testing.T, n *adaptertest.Node, name string, o adapter.Options) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		if err := n.Adapter.Broadcast(adaptertest.Event(name), o); err != nil {
			t.Errorf("Broadcast: %v", err)
		}
	}()
	synctest.Wait()
	return done
}

func returned(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func wantTexts(t *testing.T, what string, s *adaptertest.Socket, want ...string) {
	t.Helper()
	if got := s.Take(); !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, n, s := newArchive(t)
		if !n.Adapter.Recovers() {
			t.Error("it does not recover")
		}
		done := start(t, n, "early", adapter.Options{})
		wantTexts(t, "before anything can come back", s, `2["early"]`)
		if !returned(done) {
			t.Error("Broadcast waits for nothing")
		}

		a.node.Returning(true)
		first, second := start(t, n, "x", adapter.Options{}), start(t, n, "x", adapter.Options{Rooms: []string{"s"}})
		wantTexts(t, "before it has come back", s)
		start(t, n, "volatile", adapter.Options{Flags: adapter.Flags{Volatile: true}})
		start(t, n, "local", adapter.Options{Flags: adapter.Flags{Local: true}})
		wantTexts(t, "what has no offset", s, `2["volatile"]`, `2["local"]`)
		a.returned(a.published[0], "1") // late: it was delivered
		a.returned(a.published[2], "2")
		synctest.Wait()
		if returned(first) || !returned(second) {
			t.Error("not who was to return has returned")
		}
		a.returned(a.published[1], "3")
		a.returned("unknown", "4")
		synctest.Wait()
		if !returned(first) {
			t.Error("Broadcast goes on waiting")
		}
		wantTexts(t, "when it has come back", s, `2["x","2"]`, `2["x","3"]`)

		a.node.Receive(&adapter.Message{Type: adapter.MessageBroadcast, UID: "u", Namespace: "/", Offset: "5", Value: value(`["of another"]`)}, nil)
		a.node.Receive(&adapter.Message{
			Type: adapter.MessageBroadcast, UID: "u", Namespace: "/", Offset: "6", Value: value(`["volatile"]`),
			Options: adapter.Options{Flags: adapter.Flags{Volatile: true}},
		}, nil)
		wantTexts(t, "of another node", s, `2["of another","5"]`, `2["volatile"]`)
	})
}

// TestKeeperFails uses a Keeper that returns nothing. Sockets of this node are still served, and only the first one waits.
func TestKeeperFails(t *testing.T) {
	for name, test := range map[string]struct {
		fail func(*archive, *adaptertest.Node)
		wait time.Duration
	}{
		"time":       {func(*archive, *adaptertest.Node) {}, time.Second},
		"publishing": {func(a *archive, _ *adaptertest.Node) { a.fail = errors.New("no") }, 0},
		"reading": {func(a *archive, _ *adaptertest.Node) {
			time.AfterFunc(time.Millisecond, func() { a.node.Returning(false) })
		}, time.Millisecond},
		"closing": {func(_ *archive, n *adaptertest.Node) {
			time.AfterFunc(time.Millisecond, func() { _ = n.Adapter.Close(context.Background()) })
		}, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, n, s := newArchive(t)
				a.node.Returning(true)
				test.fail(a, n)
				for i, want := range []time.Duration{test.wait, 0, 0} {
					start := time.Now()
					if err := n.Adapter.Broadcast(adaptertest.Event("x"), adapter.Options{}); err != nil {
						t.Errorf("Broadcast: %v", err)
					}
					if took := time.Since(start); took != want {
						t.Errorf("broadcast %d took %v, want %v", i, took, want)
					}
					wantTexts(t, "without offset", s, `2["x"]`)
				}
				if name != "time" {
					return
				}
				// After a late message the next one is expected in time.
				synctest.Wait()
				a.returned(a.published[0], "1")
				wantTexts(t, "late", s)
				done := start(t, n, "y", adapter.Options{})
				a.returned(a.published[3], "2")
				<-done
				wantTexts(t, "in time again", s, `2["y","2"]`)
			})
		})
	}
}

// TestRecoveryOnOneNode recovers sessions in a Cluster whose backend keeps nothing.
func TestRecoveryOnOneNode(t *testing.T) {
	for name, test := range map[string]struct {
		memory *adapter.MemoryOptions
		want   bool
	}{
		"as the server wants": {nil, false},
		"on demand":           {&adapter.MemoryOptions{Recovery: new(adapter.RecoveryOptions)}, true},
	} {
		n := adaptertest.NewNode("/")
		n.Kept = new(adapter.RecoveryOptions)
		n.Adapter = new(adaptertest.Bus).Factory(&adapter.ClusterOptions{Memory: test.memory})(n)
		if got := n.Adapter.Recovers(); got != test.want {
			t.Errorf("%s: recovers: %v", name, got)
		}
		if err := n.Adapter.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
