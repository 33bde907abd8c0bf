package namespace

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/testing/leak"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fakeClient is a client whose session takes everything and keeps the texts.
type fakeClient struct {
	queue Queue
	wg    sync.WaitGroup

	mu     sync.Mutex
	sent   []string
	failed []any
}

func (c *fakeClient) Send(m *transport.Message) error {
	text, _ := m.Text()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, string(text))
	return nil
}

func (c *fakeClient) Fail(_ *Socket, panicked any, _ []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, panicked)
}

func (c *fakeClient) Schedule()           { c.wg.Go(func() { c.queue.Run(c) }) }
func (c *fakeClient) Queue() *Queue       { return &c.queue }
func (c *fakeClient) ClaimVolatile() bool { return true }
func (c *fakeClient) Cork()               {}
func (c *fakeClient) Uncork()             {}
func (c *fakeClient) Joined(*Socket)      {}
func (c *fakeClient) Left(*Socket)        {}
func (c *fakeClient) DisconnectAll()      {}
func (c *fakeClient) SessionID() string   { return "session" }
func (c *fakeClient) Transport() string   { return "websocket" }
func (c *fakeClient) Protocol() int       { return 4 }
func (c *fakeClient) Request() Request    { return fakeRequest{} }

type fakeRequest struct{}

func (fakeRequest) Header() http.Header      { return http.Header{"Origin": {"here"}} }
func (fakeRequest) Host() string             { return "host" }
func (fakeRequest) URL() string              { return "/socket.io/?EIO=4" }
func (fakeRequest) Query() map[string]string { return map[string]string{"EIO": "4"} }
func (fakeRequest) RemoteAddr() string       { return "192.0.2.1:99" }
func (fakeRequest) Secure() bool             { return true }
func (fakeRequest) Issued() time.Time        { return time.UnixMilli(1000) }

// newNamespace returns the namespace "/" of a registry with the in-memory adapter.
func newNamespace() *Namespace {
	r := NewRegistry(Config{
		Parser:  parser.Default,
		Adapter: func(n adapter.Namespace) adapter.Adapter { return adapter.NewMemory(n, nil) },
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	return r.Of("/")
}

// join connects a client.
func join(t *testing.T, n *Namespace, c *fakeClient) *Socket {
	t.Helper()
	s := Join(n, c, nil)
	c.queue.Run(c)
	if !s.Connected() {
		t.Fatal("not connected")
	}
	return s
}

func event(text string) *parser.Packet {
	return &parser.Packet{Type: parser.Event, Data: []byte(text)}
}

func TestQueueOrder(t *testing.T) {
	n, c := newNamespace(), new(fakeClient)
	s := join(t, n, c)
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
	for i := range 500 {
		v := fmt.Sprint(i)
		c.queue.PushEvent(s, event(`["e","`+v+`"]`))
		want = append(want, v)
		c.Schedule()
	}
	c.wg.Wait()
	if !slices.Equal(seen, want) {
		t.Errorf("seen: %q", seen)
	}
}

func TestDropBatch(t *testing.T) {
	n, c := newNamespace(), new(fakeClient)
	a, b := join(t, n, c), join(t, n.registry.Of("/b"), c)
	var seen []string
	note := func(e *Event) { seen = append(seen, e.Socket().Namespace().Name()+string(e.Args().At(0).Data)) }
	n.On("e", note)
	b.Namespace().On("e", note)
	c.queue.PushEvent(a, event(`["e",1]`))
	c.queue.EndBatch()
	c.queue.PushEvent(a, event(`["e",2]`))
	c.queue.PushEvent(b, event(`["e",3]`))
	c.queue.DropBatch(a)
	c.queue.PushEvent(a, event(`["e",4]`))
	c.queue.Run(c)
	if want := []string{"/1", "/b3", "/4"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

func TestQueueFull(t *testing.T) {
	n, c := newNamespace(), new(fakeClient)
	s := join(t, n, c)
	big := event(`["e","` + strings.Repeat("x", maxQueued/10) + `"]`)
	pushed := 0
	for full := false; !full; pushed++ {
		full = c.queue.PushEvent(s, big)
	}
	if pushed < 10 || pushed > 11 || !c.queue.Full() {
		t.Errorf("full after %d events", pushed)
	}
	if c.queue.PushEvent(s, big) {
		t.Error("reported full twice")
	}
	if !c.queue.Run(c) || c.queue.Full() {
		t.Error("no room again")
	}
	if c.queue.bytes != 0 {
		t.Errorf("%d bytes are still counted", c.queue.bytes)
	}
}

// TestKeptEvents keeps events beyond their handlers: they must not be used again.
func TestKeptEvents(t *testing.T) {
	n, c := newNamespace(), new(fakeClient)
	s := join(t, n, c)
	var kept []*Event
	n.On("e", func(e *Event) { kept = append(kept, e) })
	n.Handle("typed", false, func(*Event) {})
	for i := range 100 {
		c.queue.PushEvent(s, event(fmt.Sprintf(`["e",%d]`, i)))
		c.queue.PushEvent(s, event(`["typed"]`))
		c.queue.Run(c)
	}
	for i, e := range kept {
		var v int
		if err := e.Bind(&v); err != nil || v != i || e.Name() != "e" {
			t.Fatalf("event %d has become %q %d (%v)", i, e.Name(), v, err)
		}
	}
}

func TestGoexit(t *testing.T) {
	n, c := newNamespace(), new(fakeClient)
	s := join(t, n, c)
	after := false
	n.On("exit", func(*Event) { runtime.Goexit() })
	n.On("after", func(*Event) { after = true })
	c.queue.PushEvent(s, event(`["exit"]`))
	c.queue.PushEvent(s, event(`["after"]`))
	c.Schedule()
	c.wg.Wait()
	if len(c.failed) != 1 || !after {
		t.Errorf("failed %v, the queue went on: %v", c.failed, after)
	}
}

func TestHandshakeDetails(t *testing.T) {
	s := join(t, newNamespace(), new(fakeClient))
	d := s.Handshake().Details()
	if d.Address != "192.0.2.1" || !d.XDomain || !d.Secure || d.Headers["host"] != "host" ||
		d.Headers["origin"] != "here" || d.Query["EIO"] != "4" || string(d.Auth) != "{}" || d.Issued == 0 {
		t.Errorf("%+v", d)
	}
}

// TestNothingIsAllocated guards the path of a typed event and of its acknowledgement.
func TestNothingIsAllocated(t *testing.T) {
	n, c := newNamespace(), new(fakeClient)
	s := join(t, n, c)
	n.Handle("e", false, func(*Event) {})
	p := event(`["e","text"]`)
	if allocs := testing.AllocsPerRun(100, func() {
		c.queue.PushEvent(s, p)
		c.queue.Run(c)
	}); allocs > 0 {
		t.Errorf("%v allocations for an event on its way in", allocs)
	}
}
