package socketio

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// panics is a log that counts panics of handlers.
type panics struct {
	mu    sync.Mutex
	count int
}

func (p *panics) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count += strings.Count(string(line), "handler panicked")
	return len(line), nil
}

func (p *panics) want(t *testing.T, n int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count != n {
		t.Errorf("%d panics are logged, want %d", p.count, n)
	}
}

// quietServer returns a server that logs to p only.
func quietServer(t *testing.T, o Options) (s *Server, p *panics) {
	t.Helper()
	p = new(panics)
	o.Logger = slog.New(slog.NewTextHandler(p, nil))
	s = NewServer(&o)
	t.Cleanup(func() {
		if err := s.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return s, p
}

// open returns a client of s, over a polling session that fetches nothing. The test hands its packets over.
func open(t *testing.T, s *Server) (c *client) {
	t.Helper()
	o := s.opts.engine(func(session *engineio.Session) engineio.Handler {
		c = s.accept(session).(*client)
		return c
	})
	engine, err := engineio.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	engine.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil))
	return c
}

// sent returns the packets that the client has not fetched yet.
func (c *client) sent() (texts []string) {
	for _, p := range c.session.SendBuffer() {
		if p.Type == packet.Message {
			texts = append(texts, string(p.Data))
		}
	}
	return texts
}

// join connects a client to n.
func join(t *testing.T, n *Namespace, c *client) *Socket {
	t.Helper()
	c.join(n, nil)
	c.Run()
	s := c.socket(n.Name())
	if s == nil || !s.Connected() {
		t.Fatal("not connected")
	}
	return s
}

// connected returns a socket that is connected to the namespace "/" of a new server.
func connected(t *testing.T) (*Socket, *panics) {
	t.Helper()
	s, p := quietServer(t, Options{})
	return join(t, s.root, open(t, s)), p
}

func event(text string) *parser.Packet {
	return &parser.Packet{Type: parser.Event, Data: []byte(text)}
}

func TestQueueOrder(t *testing.T) {
	s, _ := connected(t)
	n, c := s.ns, s.client
	var seen []string
	busy := false
	n.On("e", func(e *Event) {
		if busy {
			t.Error("two events at once")
		}
		busy = true
		runtime.Gosched()
		var v string
		if err := e.Bind(&v); err != nil {
			t.Error(err)
		}
		seen = append(seen, v)
		busy = false
	})
	var want []string
	var wg sync.WaitGroup
	for i := range 500 {
		v := fmt.Sprint(i)
		c.queue.pushEvent(s, event(`["e","`+v+`"]`))
		want = append(want, v)
		wg.Go(c.Run)
	}
	wg.Wait()
	if !slices.Equal(seen, want) {
		t.Errorf("seen: %q", seen)
	}
}

func TestQueueFull(t *testing.T) {
	s, _ := connected(t)
	c := s.client
	big := event(`["e","` + strings.Repeat("x", defaultMaxUnhandled/10) + `"]`)
	pushed := 0
	for full := false; !full; pushed++ {
		full = c.queue.pushEvent(s, big)
	}
	if pushed < 10 || pushed > 11 || !c.queue.isFull() {
		t.Errorf("full after %d events", pushed)
	}
	if c.queue.pushEvent(s, big) {
		t.Error("reported full twice")
	}
	if !c.queue.run(c) || c.queue.isFull() {
		t.Error("no room again")
	}
	if c.queue.bytes != 0 {
		t.Errorf("%d bytes are still counted", c.queue.bytes)
	}
}

// TestKeptEvents keeps events beyond their handlers: they must not be used again.
func TestKeptEvents(t *testing.T) {
	s, _ := connected(t)
	n, c := s.ns, s.client
	var kept []*Event
	n.On("e", func(e *Event) { kept = append(kept, e) })
	n.handle("typed", handler{do: func(*Event) {}})
	for i := range 100 {
		c.queue.pushEvent(s, event(fmt.Sprintf(`["e",%d]`, i)))
		c.queue.pushEvent(s, event(`["typed"]`))
		c.queue.run(c)
	}
	for i, e := range kept {
		var v int
		if err := e.Bind(&v); err != nil || v != i || e.Name() != "e" {
			t.Fatalf("event %d has become %q %d (%v)", i, e.Name(), v, err)
		}
	}
}

func TestGoexit(t *testing.T) {
	s, logged := connected(t)
	n, c := s.ns, s.client
	after := false
	n.On("exit", func(*Event) { runtime.Goexit() })
	n.On("after", func(*Event) { after = true })
	c.queue.pushEvent(s, event(`["exit"]`))
	c.queue.pushEvent(s, event(`["after"]`))
	done := make(chan struct{})
	c.queue.push(func() { close(done) })
	c.schedule()
	<-done
	logged.want(t, 1)
	if !after {
		t.Error("the queue does not go on")
	}
}

func TestHandshakeDetails(t *testing.T) {
	s, _ := connected(t)
	d := s.Handshake().Details()
	if d.Address != "192.0.2.1" || d.XDomain || d.Secure || d.Headers["host"] != "example.com" ||
		d.Query["EIO"] != "4" || string(d.Auth) != "{}" || d.Issued == 0 {
		t.Errorf("%+v", d)
	}
}

// TestNothingIsAllocated guards the path of a typed event and of its acknowledgement.
func TestNothingIsAllocated(t *testing.T) {
	s, _ := connected(t)
	n, c := s.ns, s.client
	n.handle("e", handler{do: func(*Event) {}})
	p := event(`["e","text"]`)
	if allocs := testing.AllocsPerRun(100, func() {
		c.queue.pushEvent(s, p)
		c.queue.run(c)
	}); allocs > 0 {
		t.Errorf("%v allocations for an event on its way in", allocs)
	}
}
