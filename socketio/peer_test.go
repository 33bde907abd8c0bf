package socketio_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/myriad-rt/myriad/internal/testing/leak"
	"github.com/myriad-rt/myriad/internal/testing/pipenet"
	"github.com/myriad-rt/myriad/socketio"
)

func TestMain(m *testing.M) { leak.Main(m) }

const patience = 30 * time.Second

// modes are the ways in which a server can be reached; tests that concern the whole path run in each.
var modes = []struct {
	name  string
	epoll bool
	own   bool // its own listener
	tls   bool
}{
	{name: "handler", epoll: true},
	{name: "listener", epoll: true, own: true},
	{name: "goroutines"},
	{name: "TLS", epoll: true, tls: true},
}

// inEachMode runs test in each mode of serving, with a server prepared by setUp.
func inEachMode(t *testing.T, opts socketio.Options, setUp func(*socketio.Server), test func(*testing.T, *socketio.Server, string)) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			o := opts
			o.DisableEpoll = !mode.epoll
			server := newServer(t, &o)
			setUp(server)
			var url string
			switch {
			case mode.own:
				url = serveItself(t, server)
			case mode.tls:
				h := httptest.NewTLSServer(server)
				t.Cleanup(h.Close)
				url = h.URL
			default:
				url = serve(t, server)
			}
			test(t, server, url)
		})
	}
}

// newServer returns a server that is closed at the end of the test. Its time limits tolerate
// a busy machine.
func newServer(t *testing.T, o *socketio.Options) *socketio.Server {
	t.Helper()
	if o == nil {
		o = new(socketio.Options)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	server := socketio.NewServer(o)
	server.SetLimits(patience, patience)
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return server
}

func serve(t *testing.T, server *socketio.Server) string {
	h := httptest.NewServer(server)
	t.Cleanup(h.Close)
	return h.URL
}

func serveItself(t *testing.T, server *socketio.Server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, server, l)
	return "http://" + l.Addr().String()
}

func serveOn(t *testing.T, server *socketio.Server, l net.Listener) {
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
}

// peer is a client on a WebSocket that speaks in packets.
type peer struct {
	t    *testing.T
	conn net.Conn
	rw   io.ReadWriter
}

// serveInMemory returns the URL of the server and a function that dials it.
func serveInMemory(t *testing.T, server *socketio.Server) (string, ws.Dialer) {
	l := pipenet.Listen()
	h := &http.Server{Handler: server}
	go h.Serve(l)
	t.Cleanup(func() { h.Close() })
	return "http://" + l.Addr().String(), ws.Dialer{NetDial: l.Dial}
}

// dial opens a session and reads its open packet.
func dial(t *testing.T, url string) *peer {
	t.Helper()
	return dialWith(t, insecure, url)
}

func dialWith(t *testing.T, dialer ws.Dialer, url string) *peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	url = "ws" + strings.TrimPrefix(url, "http") + "/socket.io/?EIO=4&transport=websocket"
	conn, buffered, _, err := dialer.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &peer{t: t, conn: conn, rw: conn}
	if buffered != nil {
		p.rw = struct {
			io.Reader
			io.Writer
		}{io.MultiReader(io.LimitReader(buffered, int64(buffered.Buffered())), conn), conn}
	}
	if open := p.read(); !strings.HasPrefix(open, `0{"sid":"`) {
		t.Fatalf("open packet: %q", open)
	}
	return p
}

// connect opens a session and joins a namespace; "" is "/".
func connect(t *testing.T, url, namespace string) *peer {
	t.Helper()
	p := dial(t, url)
	p.join(namespace)
	return p
}

// join joins a namespace; "" is "/".
func (p *peer) join(namespace string) {
	p.t.Helper()
	p.send("40" + namespace)
	if answer := p.read(); !strings.HasPrefix(answer, "40"+namespace+`{"sid":"`) {
		p.t.Fatalf("answer to CONNECT: %q", answer)
	}
}

// send writes text messages, each in one write, because read may answer a heartbeat at the same time.
func (p *peer) send(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		if _, err := p.conn.Write(frames(text)); err != nil {
			p.t.Fatalf("send %q: %v", text, err)
		}
	}
}

// frames returns text messages as the frames that a client sends.
func frames(texts ...string) []byte {
	var b bytes.Buffer
	for _, text := range texts {
		_ = wsutil.WriteClientText(&b, []byte(text)) // writing to a Buffer does not fail
	}
	return b.Bytes()
}

func (p *peer) sendBinary(data []byte) {
	p.t.Helper()
	if err := wsutil.WriteClientBinary(p.conn, data); err != nil {
		p.t.Fatal(err)
	}
}

// next reads one message; binary ones as "b:" and their bytes in hexadecimal, the end as "closed".
func (p *peer) next() string {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	data, op, err := wsutil.ReadServerData(p.rw)
	switch {
	case err != nil && strings.Contains(err.Error(), "timeout"):
		p.t.Fatal("nothing has come")
		return ""
	case err != nil:
		return "closed"
	case op == ws.OpBinary:
		return fmt.Sprintf("b:%x", data)
	default:
		return string(data)
	}
}

// read is next without heartbeats, which it answers.
func (p *peer) read() string {
	p.t.Helper()
	for {
		text := p.next()
		if text != "2" {
			return text
		}
		p.send("3")
	}
}

// want reads messages and compares them.
func (p *peer) want(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		if got := p.read(); got != text {
			p.t.Fatalf("got %q, want %q", got, text)
		}
	}
}

// eventually waits until done returns true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
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
