package namespace

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// quickClient does something as soon as it hears that a socket is connected.
type quickClient struct {
	fakeClient
	joined func(*Socket)
}

func (c *quickClient) Schedule()        { c.wg.Go(func() { c.queue.Run(c) }) }
func (c *quickClient) Joined(s *Socket) { c.joined(s) }

// TestClientLeavesAtOnce sends an event and leaves before the handlers for connections have been called. They are, and
// then those for the event and for the end.
func TestClientLeavesAtOnce(t *testing.T) {
	n := NewRegistry(Config{
		Parser:   parser.Default,
		Adapter:  func(n adapter.Namespace) adapter.Adapter { return adapter.NewMemory(n, nil) },
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
		Recovery: new(adapter.RecoveryOptions),
	}).Of("/")
	var seen []string
	n.OnConnect(func(s *Socket) {
		seen = append(seen, "connect")
		s.On("e", func(*Event) { seen = append(seen, "event") })
	})
	gone := make(chan struct{})
	n.OnDisconnect(func(*Socket, DisconnectReason) {
		seen = append(seen, "gone")
		gone <- struct{}{}
	})
	want := []string{"connect", "event", "gone"}
	auth := ""
	for _, name := range []string{"new", "resumed"} {
		t.Run(name, func(t *testing.T) {
			seen = nil
			c := new(quickClient)
			c.joined = func(s *Socket) {
				if s.Recovered() != (name == "resumed") {
					t.Errorf("resumed: %v", s.Recovered())
				}
				if name == "new" {
					_ = s.Emit("x") // which has the offset for the other
					offset := c.sent[len(c.sent)-1]
					auth = `{"pid":"` + s.more().pid + `","offset":` + offset[strings.LastIndex(offset, ",")+1:len(offset)-1] + `}`
				}
				c.queue.PushEvent(s, event(`["e"]`))
				c.queue.EndBatch()
				Disconnect(s, TransportClose, nil)
			}
			Join(n, c, []byte(auth))
			c.Schedule()
			<-gone
			c.wg.Wait()
			if !slices.Equal(seen, want) {
				t.Errorf("seen %q, want %q", seen, want)
			}
		})
	}
}

// rejoiningClient joins again as soon as it hears that it has been disconnected.
type rejoiningClient struct {
	fakeClient
	n     *Namespace
	there *Socket // what it knows to be connected
}

func (c *rejoiningClient) Left(*Socket) { c.there = nil }

func (c *rejoiningClient) Send(m *transport.Message) error {
	if text, _ := m.Text(); string(text) == "1" {
		if c.there != nil {
			return errors.New("the client joins while it is there")
		}
		Join(c.n, c, nil)
	}
	return c.fakeClient.Send(m)
}

// TestRejoin joins again when the server has just sent DISCONNECT. The socket has gone by then, and its handlers for that
// are called before those for the connection of the next one.
func TestRejoin(t *testing.T) {
	n := newNamespace()
	c := &rejoiningClient{n: n}
	c.there = Join(n, c, nil)
	var seen []string
	n.OnConnect(func(*Socket) { seen = append(seen, "connect") })
	n.OnDisconnect(func(*Socket, DisconnectReason) { seen = append(seen, "gone") })
	c.queue.Run(c)
	Disconnect(c.there, ServerNamespaceDisconnect, nil)
	c.queue.Run(c)
	if want := []string{"connect", "gone", "connect"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
	if len(c.sent) != 3 || c.sent[1] != "1" {
		t.Errorf("sent %q", c.sent)
	}
}

// TestPanicOfLastHandlers panics in a handler for disconnection: the socket leaves its rooms all the same.
func TestPanicOfLastHandlers(t *testing.T) {
	n, c := newNamespace(), new(fakeClient)
	s := join(t, n, c)
	_ = s.Join("room")
	told := false
	n.OnDisconnecting(func(*Socket, DisconnectReason) { panic("for the test") })
	n.OnDisconnect(func(*Socket, DisconnectReason) { told = true })
	Disconnect(s, TransportClose, nil)
	c.queue.Run(c)
	if len(c.failed) != 1 || !told || len(n.Rooms()) > 0 || s.status.state() != stateGone {
		t.Errorf("failed %v, told: %v, rooms %q, state %d", c.failed, told, n.Rooms(), s.status.state())
	}
}

// TestContext asks for the context of sockets that are never connected.
func TestContext(t *testing.T) {
	n := newNamespace()
	entered, decide := make(chan *Socket), make(chan error)
	n.Use(func(s *Socket) error {
		entered <- s
		return <-decide
	})
	ended := func(what string, s *Socket, want DisconnectReason) {
		t.Helper()
		<-s.Context().Done()
		var cause *DisconnectError
		if err := context.Cause(s.Context()); !errors.As(err, &cause) || cause.Reason != want {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := s.EmitWithAck(t.Context(), "x"); err != ErrDisconnected {
			t.Errorf("%s: EmitWithAck: %v", what, err)
		}
	}
	c := new(fakeClient)
	Join(n, c, nil)
	c.Schedule()
	s := <-entered
	asked := make(chan error)
	go func() {
		_, err := s.EmitWithAck(t.Context(), "x")
		asked <- err
	}()
	for !s.waits() {
		runtime.Gosched()
	}
	Disconnect(s, PingTimeout, nil)
	ended("the client goes during middleware", s, PingTimeout)
	if err := <-asked; err != ErrDisconnected {
		t.Errorf("a wait for the client: %v", err)
	}
	decide <- nil

	Join(n, c, nil)
	c.Schedule()
	s = <-entered
	ctx := s.Context()
	decide <- errors.New("no")
	<-ctx.Done()
	ended("middleware refuses", s, ServerNamespaceDisconnect)
	c.wg.Wait()
}

func (s *Socket) waits() bool {
	x := s.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.acks) > 0
}

// slowClose is an adapter that takes its time to close.
type slowClose struct {
	adapter.Adapter
	closing, gate chan struct{}
}

func (a slowClose) Close(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		return errors.New("nothing bounds the wait")
	}
	close(a.closing)
	<-a.gate
	return a.Adapter.Close(ctx)
}

// TestDropAndMakeAgain asks for a namespace while the adapter of the last one of this name is being closed.
func TestDropAndMakeAgain(t *testing.T) {
	closing, gate := make(chan struct{}), make(chan struct{})
	made := 0
	r := NewRegistry(Config{
		Parser: parser.Default,
		Adapter: func(n adapter.Namespace) adapter.Adapter {
			if made++; made == 1 {
				return slowClose{adapter.NewMemory(n, nil), closing, gate}
			}
			return adapter.NewMemory(n, nil)
		},
		Logger:            slog.New(slog.NewTextHandler(io.Discard, nil)),
		DropEmptyChildren: true,
	})
	r.OfFunc(func(string, parser.Value) (bool, error) { return true, nil })
	n, c := r.Resolve("/d", nil), new(fakeClient)
	Disconnect(join(t, n, c), TransportClose, nil)
	c.Schedule()
	<-closing
	again := make(chan *Namespace, 1)
	go func() { again <- r.Resolve("/d", nil) }()
	select {
	case <-again:
		t.Fatal("there are two adapters for one name")
	case <-time.After(20 * time.Millisecond):
	}
	close(gate)
	if <-again == n || made != 2 {
		t.Error("the namespace is not made again")
	}
	c.wg.Wait()
}
