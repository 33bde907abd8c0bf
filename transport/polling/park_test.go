package polling

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
)

// parker is a Parker.
type parker struct {
	*httptest.ResponseRecorder
	gone     func()
	err      error // of Unpark
	unparked chan struct{}
}

func newParker() *parker {
	return &parker{ResponseRecorder: httptest.NewRecorder(), unparked: make(chan struct{})}
}

func (p *parker) Park(gone func()) { p.gone = gone }

func (p *parker) Unpark() error {
	close(p.unparked)
	return p.err
}

func (p *parker) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.unparked:
	case <-time.After(30 * time.Second):
		t.Fatal("not answered")
	}
}

// failures is a Handler that receives errors on any goroutine.
type failures struct {
	recorder
	told chan error
}

func (f *failures) HandleError(err error) { f.told <- err }

func park(t *testing.T, c *Conn) *parker {
	t.Helper()
	p := newParker()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	if err := c.Serve(p, r); err != nil || p.gone == nil || !c.Writable() {
		t.Fatalf("not parked: %v", err)
	}
	return p
}

func TestPark(t *testing.T) {
	f := &failures{told: make(chan error, 1)}
	c := New(&Config{MaxBodyBytes: 1000, MaxQueuedBytes: 1000, CompressFrom: 100}, f, Params{})

	p := park(t, c)
	_ = c.Send(transport.TextMessage("a"))
	p.wait(t)
	if p.Code != 200 || p.Body.String() != "4a" || p.Header().Get("Content-Length") != "2" || c.Writable() {
		t.Errorf("%d %v %q", p.Code, p.Header(), p.Body)
	}
	p.gone() // late
	if len(f.told) > 0 {
		t.Errorf("an answered poll is lost: %v", <-f.told)
	}

	p = park(t, c)
	_ = c.Send(transport.TextMessage(strings.Repeat("a", 1000)))
	p.wait(t)
	if p.Header().Get("Content-Encoding") != "gzip" {
		t.Error("a long answer is not compressed")
	}

	// The caller of Send may hold locks that HandleError takes.
	p = park(t, c)
	p.err = errors.New("gone")
	_ = c.Send(transport.TextMessage("a"))
	if err := <-f.told; err != ErrPollClosed {
		t.Error(err)
	}

	p = park(t, c)
	p.gone()
	if err := <-f.told; err != ErrPollClosed || c.Writable() {
		t.Error(err)
	}

	p = park(t, c)
	if second := newParker(); c.Serve(second, httptest.NewRequest("GET", "/", nil)) != nil || second.gone != nil || second.Code != 400 {
		t.Errorf("two polls wait: %d", second.Code)
	}
	if err := <-f.told; err != ErrOverlap {
		t.Error(err)
	}
	c.Abort(packet.Close)
	p.wait(t)
}

// Functions of the application run without the sender's locks.
func TestParkedHeader(t *testing.T) {
	var sending sync.Mutex
	c := New(&Config{MaxQueuedBytes: 1000, CompressFrom: -1, Header: func(h http.Header, _ *http.Request) {
		sending.Lock()
		defer sending.Unlock()
		h.Set("X", "1")
	}}, new(recorder), Params{})
	p := park(t, c)
	sending.Lock()
	_ = c.Send(transport.TextMessage("a"))
	sending.Unlock()
	p.wait(t)
	if p.Header().Get("X") != "1" || p.Body.String() != "4a" {
		t.Errorf("%v %q", p.Header(), p.Body)
	}
}

// panics is a Handler that receives panics.
type panics struct {
	recorder
	told chan any
}

func (p *panics) HandlePanic(panicked any, _ []byte) { p.told <- panicked }

// TestPanicForAParkedPoll makes the header function panic. No other code would recover from that.
func TestPanicForAParkedPoll(t *testing.T) {
	h := &panics{told: make(chan any, 1)}
	c := New(&Config{MaxQueuedBytes: 1000, CompressFrom: -1, Header: func(http.Header, *http.Request) { panic("for the test") }}, h, Params{})
	p := park(t, c)
	_ = c.Send(transport.TextMessage("a"))
	if got := <-h.told; got != "for the test" {
		t.Errorf("told of %v", got)
	}
	if p.wait(t); p.Code != 500 || p.Body.Len() > 0 || len(p.Header()) > 0 {
		t.Errorf("%d %v %q", p.Code, p.Header(), p.Body)
	}
}
