package polling

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
)

func TestUnescapeLines(t *testing.T) {
	tests := map[string]string{`a\nb`: "a\nb", `a\\nb`: `a\nb`, `\\\n`: `\` + `\n`, `a\b\\`: `a\b\\`, `\n\n`: "\n\n", "a\nb": "a\nb", ``: ``}
	for in, want := range tests {
		if got := string(unescapeLines(in)); got != want {
			t.Errorf("unescapeLines(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestConnIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n > 160 {
		t.Errorf("a Conn has %d bytes, want at most 160", n)
	}
}

// recorder is a Handler.
type recorder struct {
	mu      sync.Mutex
	packets []string
	errs    []error
	posts   int
	drained int
	ended   int
}

func (r *recorder) HandlePanic(panicked any, _ []byte) { panic(panicked) }

func (r *recorder) HandlePayload(next func() (packet.Packet, bool, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.posts++
	for {
		p, ok, err := next()
		if err != nil {
			r.errs = append(r.errs, err)
		}
		if !ok || p.Type == packet.Close {
			return
		}
		r.packets = append(r.packets, p.Type.String()+" "+string(p.Data))
	}
}

func (r *recorder) HandleDrain() { r.drained++ }
func (r *recorder) HandleError(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}
func (r *recorder) HandleEnd() { r.ended++ }

func newConn(p Params) (*Conn, *recorder) {
	r := new(recorder)
	return New(&Config{
		MaxBodyBytes: 1000, MaxBodyPieces: 100, BodyTimeout: time.Minute, MaxQueuedBytes: 1000, CompressFrom: -1,
	}, r, p), r
}

// serve serves one request. A GET must not wait.
func serve(c *Conn, method, body string) (status int, answer string, err error) {
	w := httptest.NewRecorder()
	err = c.Serve(w, httptest.NewRequestWithContext(context.Background(), method, "/", strings.NewReader(body)))
	return w.Code, w.Body.String(), err
}

func TestConnEnds(t *testing.T) {
	c, r := newConn(Params{})
	if c.Close() {
		t.Error("ended without having told the client")
	}
	if err := c.Send(transport.TextMessage("a")); err != transport.ErrClosed {
		t.Errorf("Send returned %v", err)
	}
	if _, answer, _ := serve(c, "GET", ""); answer != "6\x1e1" || r.ended != 1 {
		t.Errorf("%q, ended %d times", answer, r.ended)
	}
	for _, method := range []string{"GET", "POST"} {
		if _, _, err := serve(c, method, ""); err != transport.ErrClosed {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestAbortReturnsTheQueue(t *testing.T) {
	c, r := newConn(Params{})
	m := transport.NewMessage()
	m.SetText(append(m.Buffer(), "a"...))
	_, _ = c.Send(m), c.SendPacket(packet.Ping)
	m.Release()
	if n := c.Queued(); n != 1+2*itemBytes {
		t.Errorf("%d bytes are queued", n)
	}
	if !c.Freeze() {
		t.Error("not frozen")
	}
	if _, _, err := serve(c, "POST", "4late"); err != transport.ErrClosed || len(r.packets) != 0 {
		t.Errorf("%v %v", err, r.packets)
	}
	unsent, late := c.Abort(packet.Close)
	if late || len(unsent) != 2 || unsent[1].Type != packet.Ping {
		t.Fatalf("%v, late %v", unsent, late)
	}
	if text, _ := unsent[0].Message.Text(); string(text) != "a" {
		t.Errorf("%q", text)
	}
	if _, _, err := serve(c, "GET", ""); err != transport.ErrClosed || c.Queued() != 0 {
		t.Error(err)
	}
}

func TestQueueLimit(t *testing.T) {
	c, _ := newConn(Params{})
	n := 0
	for c.SendPacket(packet.Ping) == nil {
		n++
	}
	if n != 1000/itemBytes {
		t.Errorf("%d packets fit", n)
	}
}

func TestWaitingGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newConn(Params{})
		get := func(ctx context.Context) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			go func() { _ = c.Serve(w, httptest.NewRequestWithContext(ctx, "GET", "/", http.NoBody)) }()
			synctest.Wait()
			return w
		}
		w := get(t.Context())
		if !c.Writable() || w.Body.Len() > 0 {
			t.Error("the GET does not wait")
		}
		c.Release()
		synctest.Wait()
		if w.Body.String() != "6" || c.Writable() {
			t.Errorf("%q", w.Body)
		}
		w = get(t.Context())
		_ = c.Send(transport.TextMessage("a"))
		_ = c.Send(transport.TextMessage("b"))
		synctest.Wait()
		if w.Body.String() != "4a" {
			t.Errorf("%q", w.Body)
		}
		if w = get(t.Context()); w.Body.String() != "4b" || r.drained != 1 {
			t.Errorf("%q, drained %d times", w.Body, r.drained)
		}
		ctx, cancel := context.WithCancel(t.Context())
		get(ctx)
		cancel()
		synctest.Wait()
		if len(r.errs) != 1 || r.errs[0] != ErrPollClosed {
			t.Errorf("errors %v", r.errs)
		}
		w = get(t.Context())
		if again := get(t.Context()); again.Code != 400 || again.Body.Len() > 0 || r.errs[1] != ErrOverlap {
			t.Errorf("%d %q, errors %v", again.Code, again.Body, r.errs)
		}
		c.Abort(packet.Close)
		synctest.Wait()
		if w.Body.String() != "1" {
			t.Errorf("%q", w.Body)
		}
	})
}

func TestHeldPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newConn(Params{})
		c.Pause()
		w := httptest.NewRecorder()
		post := func() {
			_ = c.Serve(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader("4a")))
		}
		go post()
		synctest.Wait()
		if w.Body.Len() > 0 || r.posts != 1 {
			t.Errorf("%q, %d posts", w.Body, r.posts)
		}
		c.Resume()
		synctest.Wait()
		if w.Body.String() != "ok" {
			t.Errorf("%q", w.Body)
		}

		c.Pause()
		w = httptest.NewRecorder()
		go post()
		synctest.Wait()
		c.Close() // later packets are dropped
		synctest.Wait()
		if w.Body.String() != "ok" {
			t.Errorf("closing: %q", w.Body)
		}
	})
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
func (brokenBody) Close() error             { return nil }

func TestBrokenPost(t *testing.T) {
	c, r := newConn(Params{})
	defer func() {
		if recover() != http.ErrAbortHandler || len(r.errs) != 1 || r.errs[0] != ErrPostClosed {
			t.Errorf("errors %v", r.errs)
		}
	}()
	request := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
	request.Body = brokenBody{}
	_ = c.Serve(httptest.NewRecorder(), request)
	t.Error("no panic")
}

// FuzzPost serves arbitrary bodies in each protocol.
func FuzzPost(f *testing.F) {
	for _, seed := range []string{"4hello\x1ebAQID", "2:40", "\x00\x02\xff4a\x01\x02\xff\x04\x01", "d=2%3A4a", "\xff", "1\x1e4"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, p := range []Params{{}, {V3: true}, {JSONP: true}, {V3: true, JSONP: true}} {
			for _, content := range []string{"text/plain", binaryContent} {
				c, r := newConn(p)
				w := httptest.NewRecorder()
				request := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(string(body)))
				request.Header.Set("Content-Type", content)
				if err := c.Serve(w, request); err != nil {
					t.Error(err)
				}
				switch refused := content == binaryContent && !p.V3; {
				case refused && (w.Code != 400 || !errors.Is(r.errs[0], ErrContent)), len(body) > 1000 && !refused && w.Code != 413:
					t.Errorf("status %d", w.Code)
				case w.Code == 200 && w.Body.String() != "ok":
					t.Errorf("body %q", w.Body)
				}
			}
		}
	})
}

func BenchmarkSendToWaitingGet(b *testing.B) {
	c, _ := newConn(Params{})
	m := transport.TextMessage(`2["message","hello"]`)
	b.ReportAllocs()
	for b.Loop() {
		answer := make(chan response, 1)
		c.get = &get{answer: answer}
		_ = c.Send(m)
		(<-answer).release()
	}
}

// TestPacketsPerResponse queues messages and counts the packets of each response. Clients exist that accept 16 at most.
func TestPacketsPerResponse(t *testing.T) {
	with := func(attachments int) *transport.Message {
		m := transport.NewMessage()
		m.SetText(append(m.Buffer(), "t"...))
		m.SetBinary(make([][]byte, attachments)...)
		defer m.Release()
		return m.Share()
	}
	tests := []struct {
		name     string
		messages []*transport.Message
		packets  []int
	}{
		{"few", slices.Repeat([]*transport.Message{with(0)}, 16), []int{16}},
		{"one more", slices.Repeat([]*transport.Message{with(0)}, 17), []int{16, 1}},
		{"attachments stay with their text", slices.Repeat([]*transport.Message{with(4)}, 4), []int{15, 5}},
		{"a large message is not split", []*transport.Message{with(0), with(30), with(0)}, []int{1, 31, 1}},
		{"far behind", slices.Repeat([]*transport.Message{with(0)}, 100), []int{25, 18, 16, 16, 16, 9}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := New(&Config{MaxQueuedBytes: 1 << 20, CompressFrom: -1}, new(recorder), Params{})
			for _, m := range tt.messages {
				if err := c.Send(m); err != nil {
					t.Fatal(err)
				}
			}
			var got []int
			for c.Queued() > 0 {
				_, body, _ := serve(c, "GET", "")
				got = append(got, 1+strings.Count(body, "\x1e"))
			}
			if !slices.Equal(got, tt.packets) {
				t.Errorf("packets %v, want %v", got, tt.packets)
			}
		})
	}
}

// TestBudget checks that whatever ends a queue takes it off the budget.
func TestBudget(t *testing.T) {
	for name, end := range map[string]func(c *Conn){
		"abort": func(c *Conn) { c.Abort(packet.Close) },
		"polls": func(c *Conn) {
			for c.Queued() > 0 {
				_, _, _ = serve(c, "GET", "")
			}
		},
		"close": func(c *Conn) {
			c.Close()
			for range 4 {
				_, _, _ = serve(c, "GET", "")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			budget := transport.NewBudget(1<<20, nil)
			c := New(&Config{MaxQueuedBytes: 1 << 20, Budget: budget, CompressFrom: -1}, new(recorder), Params{})
			shared := transport.TextMessage("shared")
			budget.Hold(shared) // in another queue
			for range 20 {
				_ = c.Send(shared)
				_ = c.SendPacket(packet.Ping)
			}
			if want := int64(len("shared") + 40*itemBytes); budget.Used() != want {
				t.Errorf("%d bytes, want %d", budget.Used(), want)
			}
			end(c)
			budget.Drop(shared)
			if budget.Used() != 0 {
				t.Errorf("%d bytes are left", budget.Used())
			}
		})
	}
}

// TestCrewIsBounded gives a crew many more jobs than it has goroutines.
func TestCrewIsBounded(t *testing.T) {
	var c crew
	var now, most atomic.Int32
	var wg sync.WaitGroup
	for range 1000 {
		wg.Add(1)
		c.do(func() {
			defer wg.Done()
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			runtime.Gosched()
			now.Add(-1)
		})
	}
	wg.Wait()
	if n := int(most.Load()); n > runtime.GOMAXPROCS(0) {
		t.Errorf("%d at a time", n)
	}
}
