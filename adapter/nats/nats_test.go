package nats_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/nats"
	"github.com/myriad-rt/myriad/internal/testing/leak"
	"github.com/myriad-rt/myriad/internal/testing/natstest"
	"github.com/myriad-rt/myriad/socketio/parser"
)

func TestMain(m *testing.M) { leak.Main(m) }

// connect returns a connection with the options that the package documentation recommends.
func connect(t testing.TB, url string, more ...natsgo.Option) *natsgo.Conn {
	t.Helper()
	options := append([]natsgo.Option{
		natsgo.MaxReconnects(-1), natsgo.RetryOnFailedConnect(true), natsgo.PingInterval(5 * time.Second),
		natsgo.ReconnectWait(20 * time.Millisecond), natsgo.ReconnectJitter(0, 0),
		natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) {}),
	}, more...)
	conn, err := natsgo.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		// If a server stops before it has greeted a reconnecting client, the client drops the connection without closing it. The
		// garbage collector closes it later.
		runtime.GC()
	})
	return conn
}

// nodes returns a factory whose adapters each have their own connection, like nodes in separate processes.
func nodes(t *testing.T, url string, o *nats.Options) adapter.Factory {
	return func(ns adapter.Namespace) adapter.Adapter { return nats.New(connect(t, url), o)(ns) }
}

func TestConformance(t *testing.T) {
	for name, test := range map[string]struct {
		options *nats.Options
		config  string
	}{
		"defaults": {},
		"private":  {&nats.Options{Prefix: "a.b-%", SubscriptionMode: adapter.DynamicPrivate}, ""},
		"static":   {&nats.Options{SubscriptionMode: adapter.Static}, ""},
		// All messages except heartbeats are sent in parts.
		"in parts": {nil, "max_payload: 80"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.Start(t, test.config)
			adaptertest.Run(t, nats.New(connect(t, server.URL()), test.options))
			adaptertest.RunCluster(t, func(t *testing.T) adapter.Factory {
				return nodes(t, server.URL(), test.options)
			})
		})
	}
}

// quiet returns options for nodes that send nothing on their own.
func quiet() *nats.Options {
	return &nats.Options{ClusterOptions: adapter.ClusterOptions{
		Heartbeat: &adapter.HeartbeatOptions{Interval: time.Hour, Timeout: time.Hour},
	}}
}

// join returns nodes that count each other and send no further greetings.
func join(t *testing.T, size int, open adapter.Factory) []*adaptertest.Node {
	t.Helper()
	nodes := make([]*adaptertest.Node, size)
	for i := range nodes {
		nodes[i] = adaptertest.NewNode("/")
		nodes[i].Open(t, open)
	}
	for _, n := range nodes {
		<-n.Adapter.(*adapter.Cluster).Ready()
		adaptertest.Eventually(t, func() string {
			if got, _ := n.Adapter.ServerCount(t.Context()); got != size {
				return fmt.Sprintf("%d nodes, want %d", got, size)
			}
			return ""
		})
		// They answer this after their greetings.
		ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
		if _, err := n.Adapter.FetchSockets(ctx, adapter.Options{}); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	return nodes
}

// TestHearsItsOwn counts the useless messages that reach a node.
func TestHearsItsOwn(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	all := join(t, 3, nodes(t, server.URL(), quiet()))
	a, b, c := all[0], all[1], all[2]
	member, other := b.Connect("member", "room"), c.Connect("other")
	o := adapter.Options{Rooms: []string{"room"}}
	adaptertest.Eventually(t, func() string {
		_ = a.Adapter.Broadcast(adaptertest.Event("probe"), o)
		time.Sleep(5 * time.Millisecond)
		if len(member.Take()) == 0 {
			return "the room is not reached"
		}
		return ""
	})
	// The greetings of nodes arrive before these events.
	for i, n := range []*adaptertest.Node{a, b, a, b} {
		fence := fmt.Sprint("fence ", i)
		_ = n.Adapter.Broadcast(adaptertest.Event(fence), adapter.Options{})
		adaptertest.Eventually(t, func() string {
			if !slices.Contains(other.Take(), `2["`+fence+`"]`) {
				return "an event to all does not arrive"
			}
			return ""
		})
	}
	received := func() uint64 { return c.Stats().Received }
	before := received()
	for range 10 {
		_ = a.Adapter.Broadcast(adaptertest.Event("x"), o)
		_ = a.Adapter.AddSockets(o, "more")
		_ = a.Adapter.RemoveSockets(o, "more")
	}
	if found, err := a.Adapter.FetchSockets(t.Context(), adapter.Options{}); err != nil || len(found) != 2 {
		t.Errorf("FetchSockets: %v, %v", found, err)
	}
	_ = a.Adapter.Broadcast(adaptertest.Event("last"), adapter.Options{})
	adaptertest.Eventually(t, func() string {
		if len(other.Take()) == 0 {
			return "the last event does not arrive"
		}
		return ""
	})
	if got := received() - before; got != 2 {
		t.Errorf("the node has received %d messages, want the request for its sockets and the last event", got)
	}
}

// TestOrderOfSubjects broadcasts small and large messages, alternately to all, to one room and to two rooms.
func TestOrderOfSubjects(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	all := join(t, 2, nodes(t, server.URL(), quiet()))
	s := all[1].Connect("s", "room")
	selections := []adapter.Options{{}, {Rooms: []string{"room"}}, {Rooms: []string{"room", "other"}}}
	adaptertest.Eventually(t, func() string {
		_ = all[0].Adapter.Broadcast(adaptertest.Event("probe"), selections[1])
		time.Sleep(5 * time.Millisecond)
		if len(s.Take()) == 0 {
			return "the room is not reached"
		}
		return ""
	})
	const count = 600
	for i := range count {
		name := fmt.Sprint(i)
		if i%100 == 50 {
			name += strings.Repeat("x", 1<<20)
		}
		_ = all[0].Adapter.Broadcast(adaptertest.Event(name), selections[i%3])
	}
	var got []string
	adaptertest.Eventually(t, func() string {
		for _, text := range s.Take() {
			if text != `2["probe"]` {
				got = append(got, text)
			}
		}
		if len(got) < count {
			return fmt.Sprintf("%d of %d have arrived", len(got), count)
		}
		return ""
	})
	for i, text := range got {
		if want := fmt.Sprintf(`2["%d`, i); !strings.HasPrefix(text, want) {
			t.Fatalf("event %d: got %.20s", i, text)
		}
	}
}

// TestTooLarge sends messages that no node would accept.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	o := quiet()
	o.MaxQueuedBytes = 2 * adapter.MaxMessageBytes
	all := join(t, 2, nodes(t, server.URL(), o))
	large := []byte(`["` + strings.Repeat("x", adapter.MaxMessageBytes) + `"]`)
	if _, err := all[0].Adapter.ServerSideEmitWithAck(t.Context(), parser.Args{Data: large}); !errors.Is(err, nats.ErrTooLarge) {
		t.Errorf("ServerSideEmitWithAck: %v, want ErrTooLarge", err)
	}
	if err := all[0].Adapter.ServerSideEmit(parser.Args{Data: large}); err != nil {
		t.Errorf("ServerSideEmit: %v", err)
	}
	if s := all[0].Stats(); s.Failed != 2 {
		t.Errorf("%+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
	defer cancel()
	fits := []byte(`["` + strings.Repeat("x", 4<<20) + `"]`) // in parts
	answers, err := all[0].Adapter.ServerSideEmitWithAck(ctx, parser.Args{Data: fits})
	if err != nil || len(answers) != 1 {
		t.Errorf("not too large: %d answers, %v", len(answers), err)
	}
}

func TestInside(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	adaptertest.RunInside(t, func() adapter.Factory { return nats.New(connect(t, server.URL()), nil) })
}

// TestMadeAnew creates namespaces one after the other on one connection.
func TestMadeAnew(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	adaptertest.RunMadeAnew(t, func() adapter.Factory { return nats.New(connect(t, server.URL()), nil) })
}

func TestReady(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	adaptertest.RunReady(t, server, func() adapter.Factory { return nats.New(connect(t, server.URL()), nil) })
}
