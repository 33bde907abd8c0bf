package httpserver

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/internal/testing/leak"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport/polling"
)

func TestMain(m *testing.M) { leak.Main(m) }

const patience = 30 * time.Second

// until waits for a condition.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out waiting until ", what)
		}
	}
}

// receive waits for a value.
func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing has come")
		panic("unreachable")
	}
}

// app is a Handler with one path for each kind of behavior.
type app struct {
	parked   chan polling.Parker
	lost     chan string // the targets of parked requests whose clients have gone
	hijacked chan net.Conn
	seen     chan *http.Request
}

func newApp() *app {
	return &app{
		parked: make(chan polling.Parker, 100), lost: make(chan string, 100),
		hijacked: make(chan net.Conn, 100), seen: make(chan *http.Request, 100),
	}
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/bytes": // answers with as many bytes as the query requests
		n, _ := strconv.Atoi(r.URL.RawQuery)
		_, _ = io.WriteString(w, strings.Repeat("x", n))
	case "/echo":
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(b)
	case "/park":
		if p, ok := w.(polling.Parker); ok {
			p.Park(func() { a.lost <- r.RequestURI })
			a.parked <- p
		}
	case "/hijack":
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		a.hijacked <- c
	case "/fields":
		w.Header().Set("X-"+r.URL.RawQuery, "1")
		fmt.Fprintf(w, "%v %d%s", r.Header, r.ContentLength, r.Host)
	case "/see":
		a.seen <- r
	case "/panic":
		panic("for the test")
	default:
		http.NotFound(w, r)
	}
}

// start returns a Server for a and a function that connects to it.
func (a *app) start(t *testing.T, configure func(*Config)) (*Server, func() *client) {
	t.Helper()
	c := Config{
		Handler:     a,
		Plain:       func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/rest") },
		Immediate:   func(r *http.Request) bool { return true },
		HeadTimeout: patience,
		IdleTimeout: patience,
		Wheel:       wheel.New(),
		Logger:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if configure != nil {
		configure(&c)
	}
	s := New(c)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Shutdown(t.Context()) // its context is done
		if err := receive(t, served); err != http.ErrServerClosed {
			t.Error(err)
		}
		c.Wheel.Close()
	})
	return s, func() *client { return dial(t, l.Addr()) }
}

// client is a connection to a Server.
type client struct {
	*net.TCPConn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, address net.Addr) *client {
	t.Helper()
	c, err := net.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{TCPConn: c.(*net.TCPConn), t: t, r: bufio.NewReader(c)}
}

func get(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n" }

func post(target, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
}

func (c *client) send(texts ...string) *client {
	c.t.Helper()
	for _, text := range texts {
		if _, err := io.WriteString(c, text); err != nil {
			c.t.Fatal(err)
		}
	}
	return c
}

// answer reads a response to a GET or POST.
func (c *client) answer() (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, string(b)
}

// want reads a response with this body, from a connection that stays open.
func (c *client) want(body string) {
	c.t.Helper()
	if res, got := c.answer(); got != body || res.Close {
		c.t.Fatalf("got %.200q, close: %v, want %.200q", got, res.Close, body)
	}
}

// wantEnd waits for the end of the connection. Nothing may be received before.
func (c *client) wantEnd() {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if ne, ok := err.(net.Error); len(b) > 0 || ok && ne.Timeout() {
		c.t.Fatalf("got %.200q, %v, want the end", b, err)
	}
}

// one returns the only connection of s.
func one(t *testing.T, s *Server) *conn {
	t.Helper()
	until(t, "there is one connection", func() bool { return len(s.own.all()) == 1 })
	return s.own.all()[0]
}

// look calls f with the lock of c held until it returns true.
func (c *conn) look(t *testing.T, what string, f func() bool) {
	t.Helper()
	until(t, what, func() bool {
		c.mu.Lock()
		defer c.unlock()
		return f()
	})
}
