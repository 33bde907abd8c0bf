package adapter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/testing/leak"
	"github.com/myriad-rt/myriad/socketio/parser"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestCluster(t *testing.T) {
	for name, options := range map[string]*adapter.ClusterOptions{
		"counted":    nil,
		"heartbeats": {Heartbeat: new(adapter.HeartbeatOptions)},
	} {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, new(adaptertest.Bus).Factory(options))
			adaptertest.RunCluster(t, func(*testing.T) adapter.Factory { return new(adaptertest.Bus).Factory(options) })
		})
	}
}

// pair returns two nodes on b.
func pair(t *testing.T, b *adaptertest.Bus, o *adapter.ClusterOptions) (x, y *adaptertest.Node) {
	t.Helper()
	open := b.Factory(o)
	join := func() *adaptertest.Node {
		n := adaptertest.NewNode("/")
		n.Open(t, open)
		return n
	}
	return join(), join()
}

// TestSlowBackend stops the backend. Sockets of this node are served at once and the queue is bounded. Messages that do not
// fit are counted and logged, and reported to a caller that waits for them.
func TestSlowBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		bus := &adaptertest.Bus{Filter: func(payload []byte, _ string) [][]byte {
			<-open
			return [][]byte{payload}
		}}
		var log adaptertest.Log
		x, y := pair(t, bus, &adapter.ClusterOptions{MaxQueuedBytes: 10_000, Logger: log.Logger()})
		sx, sy := x.Connect("x"), y.Connect("y")
		sx.Reply = func() parser.Args { return parser.Args{Data: []byte(`[1]`)} }
		const count = 1000
		for range count {
			if err := x.Adapter.Broadcast(adaptertest.Event("e"), adapter.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(sx.Take()); got != count {
			t.Errorf("on this node: %d events, want %d", got, count)
		}
		synctest.Wait()
		before := x.Stats()
		if before.QueuedBytes == 0 || before.QueuedBytes > 10_000 || before.Dropped == 0 {
			t.Errorf("while the backend hangs: %+v", before)
		}
		if n := strings.Count(log.String(), "dropped"); n != 1 {
			t.Errorf("%d lines in the log:\n%s", n, log.String())
		}
		if _, err := x.Adapter.FetchSockets(t.Context(), adapter.Options{}); !errors.Is(err, adapter.ErrQueueFull) {
			t.Errorf("FetchSockets: %v, want ErrQueueFull", err)
		}
		answers, err := x.Adapter.BroadcastWithAck(t.Context(), adaptertest.Event("e"), adapter.Options{})
		if !errors.Is(err, adapter.ErrQueueFull) || len(answers) != 1 {
			t.Errorf("BroadcastWithAck: %v, %v, want the answer of this node and ErrQueueFull", answers, err)
		}

		close(open)
		synctest.Wait()
		after := x.Stats()
		if after.QueuedBytes != 0 || after.Published+before.Dropped != count || int(after.Published) != len(sy.Take()) {
			t.Errorf("when the backend works again: %+v", after)
		}
	})
}

// TestCloseOfSlowBackend closes an adapter whose backend does not accept the queued messages.
func TestCloseOfSlowBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		bus := &adaptertest.Bus{Filter: func([]byte, string) [][]byte {
			<-open
			return nil
		}}
		x, _ := pair(t, bus, nil)
		for range 600 {
			_ = x.Adapter.Broadcast(adaptertest.Event("e"), adapter.Options{})
		}
		failed := make(chan error)
		go func() {
			_, err := x.Adapter.FetchSockets(t.Context(), adapter.Options{})
			failed <- err
		}()
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := x.Adapter.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("Close took %v", took)
		}
		if err := <-failed; !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("FetchSockets: %v, want ErrClosed", err)
		}
		if err := x.Adapter.Close(ctx); err != nil {
			t.Errorf("Close again: %v", err)
		}
		if err := x.Adapter.Broadcast(adaptertest.Event("e"), adapter.Options{}); err != nil {
			t.Errorf("Broadcast: %v", err)
		}
		close(open)
	})
}

// TestHeartbeats removes a node without a farewell.
func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		silent := ""
		bus := &adaptertest.Bus{Filter: func(payload []byte, _ string) [][]byte {
			mu.Lock()
			defer mu.Unlock()
			if silent != "" && bytes.Contains(payload, []byte(silent)) {
				return nil
			}
			return [][]byte{payload}
		}}
		var log adaptertest.Log
		x, y := pair(t, bus, &adapter.ClusterOptions{Heartbeat: new(adapter.HeartbeatOptions), Logger: log.Logger()})
		synctest.Wait()
		count := func(n *adaptertest.Node) int {
			c, err := n.Adapter.ServerCount(t.Context())
			if err != nil {
				t.Error(err)
			}
			return c
		}
		time.Sleep(time.Minute)
		if count(x) != 2 || count(y) != 2 {
			t.Fatalf("%d and %d nodes after a minute", count(x), count(y))
		}

		mu.Lock()
		silent = `"uid":"` + y.Stats().UID + `"`
		mu.Unlock()
		// A request ends when the only node that has not answered is removed.
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		found, err := x.Adapter.FetchSockets(ctx, adapter.Options{})
		if err != nil || len(found) > 0 {
			t.Errorf("FetchSockets: %v, %v", found, err)
		}
		if took := time.Since(start); took < 5*time.Second || took > 12*time.Second {
			t.Errorf("it took %v to give the silent node up", took)
		}
		if count(x) != 1 || count(y) != 2 || x.Stats().Nodes != 0 {
			t.Errorf("%d and %d nodes", count(x), count(y))
		}
		if !strings.Contains(log.String(), "node has fallen silent") {
			t.Errorf("log:\n%s", log.String())
		}

		mu.Lock()
		silent = ""
		mu.Unlock()
		time.Sleep(6 * time.Second)
		if count(x) != 2 {
			t.Errorf("%d nodes when the node is back", count(x))
		}
		bus.Inject("/", []byte(`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"emitter","nsp":"/"}`))
		if count(x) != 2 {
			t.Error("an emitter counts as a node")
		}
		if err := y.Adapter.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if count(x) != 1 {
			t.Errorf("%d nodes when the node has left", count(x))
		}
		bus.Inject("/", []byte(`{"type":2,"uid":"`+y.Stats().UID+`","nsp":"/"}`))
		if count(x) != 1 {
			t.Error("a late heartbeat of a node that has left makes it count again")
		}
	})
}

// TestHostileMessages injects data that is not a message, and messages that make no sense.
func TestHostileMessages(t *testing.T) {
	var log adaptertest.Log
	bus := new(adaptertest.Bus)
	x, _ := pair(t, bus, &adapter.ClusterOptions{Logger: log.Logger()})
	s := x.Connect("s")
	bad := []string{
		"", "{", "{}", "[]", "null", "\x80", "\xc1", "\x84\xa4type\x03", `{"type":"3"}`, `{"type":-1}`, `{"type":1e9}`, `{"type":14}`,
		`{"type":3}`, `{"type":3,"data":null}`, `{"type":3,"data":{}}`, `{"type":3,"data":{"packet":{"type":2}}}`,
		`{"type":3,"data":{"packet":{"type":2,"data":{}}}}`, `{"type":3,"data":{"packet":{"type":2,"data":[]}}}`,
		`{"type":3,"data":{"packet":{"type":2,"data":[{}]}}}`, `{"type":3,"data":{"packet":{"type":2,"data":["disconnect"]}}}`,
		`{"type":3,"data":{"packet":{"type":3,"data":["x"]}}}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":[1]}}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":{"rooms":{}}}}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":{"except":[null]}}}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":{"flags":[1]}}}`,
		`{"type":4,"data":{"opts":{},"rooms":"x"}}`, `{"type":7,"data":{"opts":{}}}`, `{"type":8,"data":{"requestId":"x","sockets":{}}}`,
		`{"type":8,"data":{"requestId":"x","sockets":[{}]}}`, `{"type":9,"data":{"packet":"x"}}`, `{"type":10,"data":{}}`,
		`{"type":11,"data":{"requestId":"x","clientCount":-1}}`, `{"type":3,"uid":1}`, `{"type":1,"nsp":{}}`, "{\"type\":1,\"uid\":\"\xff\"}",
	}
	for _, payload := range bad {
		bus.Inject("/", []byte(payload))
	}
	ignored := []string{
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":{}},"uid":"u","nsp":"/other"}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":{}},"uid":"` + x.Stats().UID + `","nsp":"/"}`,
		`{"type":11,"data":{"requestId":"unknown","clientCount":5},"uid":"u","nsp":"/"}`,
		`{"type":12,"data":{"requestId":"unknown"},"uid":"u","nsp":"/"}`,
	}
	for _, payload := range ignored {
		bus.Inject("/", []byte(payload))
	}
	if got := s.Take(); len(got) > 0 {
		t.Errorf("the client got %q", got)
	}
	if got := x.Stats().Malformed; got != uint64(len(bad)) {
		t.Errorf("%d messages counted as malformed, want %d", got, len(bad))
	}
	if n := strings.Count(log.String(), "ignored"); n != 2 { // one of each node
		t.Errorf("%d lines in the log:\n%s", n, log.String())
	}
	bus.Inject("/", []byte(`{"nsp":"/","uid":"u","data":{"more":[1,{"a":"]"}],"opts":{"flags":{"new":{}},"rooms":["s",42],"except":null},"packet":{"data":["x", 1 ],"type":2}},"type":3,"z":null}`))
	if got := s.Take(); !slices.Equal(got, []string{`2["x", 1 ]`}) {
		t.Errorf("in another order and with more in it: got %q", got)
	}
	for _, opts := range []string{`[]`, `[ ]`, `{"rooms":[],"except":[],"flags":[]}`, `{"flags":[ ]}`} {
		bus.Inject("/", []byte(`{"type":3,"data":{"packet":{"type":2,"data":["php"]},"opts":`+opts+`},"uid":"u","nsp":"/"}`))
		if got := s.Take(); !slices.Equal(got, []string{`2["php"]`}) {
			t.Errorf("opts %s: got %q", opts, got)
		}
	}
}

// TestAckOrder lets a client of another node answer before the node has sent its whole request.
func TestAckOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	bus := &adaptertest.Bus{Filter: func(payload []byte, to string) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		if to != "" {
			order = append(order, string(payload[:10]))
		}
		return [][]byte{payload}
	}}
	x, y := pair(t, bus, nil)
	for i := range 50 {
		y.Connect(fmt.Sprint("s", i)).Reply = func() parser.Args { return parser.Args{Data: []byte(`[1]`)} }
	}
	answers, err := x.Adapter.BroadcastWithAck(t.Context(), adaptertest.Event("x"), adapter.Options{})
	if err != nil || len(answers) != 50 {
		t.Errorf("%d answers, %v", len(answers), err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(order) != 51 || order[0] != `{"type":11` {
		t.Errorf("order of the responses: %q", order)
	}
}

func TestTimeoutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &adaptertest.Bus{Filter: func([]byte, string) [][]byte { return nil }}
		x, _ := pair(t, bus, nil)
		start := time.Now()
		_, err := x.Adapter.FetchSockets(t.Context(), adapter.Options{})
		var timeout *adapter.TimeoutError
		if !errors.As(err, &timeout) || !errors.Is(err, adapter.ErrTimeout) {
			t.Fatalf("got %v, want a *TimeoutError", err)
		}
		if want := "adapter: timeout reached: only 0 responses received out of 1"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := x.Adapter.ServerSideEmitWithAck(ctx, parser.Args{Data: []byte(`["x"]`)}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

// uncounted is a backend that does not learn the number of nodes.
type uncounted struct{ *archive }

func (uncounted) ServerCount(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// TestTimeoutWhileCounting uses deadlines that expire before the nodes are counted.
func TestTimeoutWhileCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := adaptertest.NewNode("/")
		n.Open(t, func(ns adapter.Namespace) adapter.Adapter {
			return adapter.NewCluster(ns, nil, uncounted{new(archive)})
		})
		n.Connect("s").Reply = func() parser.Args { return parser.Args{Data: []byte(`[1]`)} }
		for what, request := range map[string]func(context.Context) (int, error){
			"BroadcastWithAck": func(ctx context.Context) (int, error) {
				answers, err := n.Adapter.BroadcastWithAck(ctx, adaptertest.Event("x"), adapter.Options{})
				return len(answers), err
			},
			"FetchSockets": func(ctx context.Context) (int, error) {
				found, err := n.Adapter.FetchSockets(ctx, adapter.Options{})
				return len(found), err
			},
		} {
			for range 20 { // the deadline or its consequence may be noticed first
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if known, err := request(ctx); known != 1 || !errors.Is(err, adapter.ErrTimeout) {
					t.Errorf("%s: %d, %v, want what is known and ErrTimeout", what, known, err)
				}
				cancel()
			}
		}
	})
}

// TestFailingHandler panics and calls runtime.Goexit in handlers of server-side events. Later events are still handled.
func TestFailingHandler(t *testing.T) {
	var log adaptertest.Log
	bus := new(adaptertest.Bus)
	n := &failing{Node: adaptertest.NewNode("/"), handled: make(chan string, 10)}
	a := bus.Factory(&adapter.ClusterOptions{Logger: log.Logger()})(n)
	defer a.Close(context.Background())
	var want []string
	for _, how := range []string{"panic", "exit", "panic", "exit", "return"} {
		bus.Inject("/", []byte(`{"type":9,"data":{"packet":["`+how+`"]},"uid":"u","nsp":"/"}`))
		want = append(want, `["`+how+`"]`)
	}
	for _, event := range want {
		select {
		case got := <-n.handled:
			if got != event {
				t.Errorf("got %s, want %s", got, event)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s is not handled", event)
		}
	}
	for _, text := range []string{"for the test", "runtime.Goexit"} {
		if n := strings.Count(log.String(), `err="`+text) + strings.Count(log.String(), "err="+text); n != 2 {
			t.Errorf("%q is logged %d times:\n%s", text, n, log.String())
		}
	}
}

// failing is a namespace whose handler of server-side events fails in the way that the event's name says.
type failing struct {
	*adaptertest.Node
	handled chan string
}

func (n *failing) HandleServerSideEmit(args parser.Args, _ func(parser.Args)) {
	n.handled <- string(args.Data)
	switch {
	case strings.Contains(string(args.Data), "panic"):
		panic("for the test")
	case strings.Contains(string(args.Data), "exit"):
		runtime.Goexit()
	}
}

func BenchmarkClusterBroadcast(b *testing.B) {
	n := adaptertest.NewNode("/")
	n.Adapter = new(adaptertest.Bus).Factory(nil)(n)
	defer n.Adapter.Close(context.Background())
	p := adaptertest.Event("message")
	p.Data = []byte(`["message",{"text":"` + strings.Repeat("x", 100) + `"}]`)
	o := adapter.Options{Rooms: []string{"room"}}
	b.ReportAllocs()
	for b.Loop() {
		_ = n.Adapter.Broadcast(p, o)
	}
}
