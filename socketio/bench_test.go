package socketio

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// sink is a connection that accepts everything and sends nothing.
type sink struct {
	net.Conn
}

func (s sink) Write(b []byte) (int, error) { return len(b), nil }

// hijacked is a response that becomes a sink.
type hijacked struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// sinkSocket returns a socket of n whose client is a WebSocket that accepts everything.
func sinkSocket(b *testing.B, s *Server, n *Namespace) *Socket {
	b.Helper()
	clients := make(chan *client, 1)
	o := s.opts.engine(func(session *engineio.Session) engineio.Handler {
		c := s.accept(session).(*client)
		clients <- c
		return c
	})
	engine, err := engineio.NewServer(o)
	if err != nil {
		b.Fatal(err)
	}
	ours, theirs := net.Pipe()
	b.Cleanup(func() {
		_ = theirs.Close()
		_ = engine.Close()
	})
	r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=websocket", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	go engine.ServeHTTP(hijacked{httptest.NewRecorder(), sink{ours}}, r)
	c := <-clients
	c.join(n, nil)
	c.Run()
	socket := c.socket(n.Name())
	if socket == nil || !socket.Connected() {
		b.Fatal("not connected")
	}
	return socket
}

func BenchmarkEmit(b *testing.B) {
	type profile struct {
		Room string   `json:"room"`
		Text string   `json:"text"`
		Tags []string `json:"tags"`
		At   int64    `json:"at"`
	}
	long := strings.Repeat("some text ", 400)
	received := parser.Args{Data: []byte(`[{"room":"lobby","text":"hello, everyone <here>","tags":["a","b"],"at":1700000000123}]`)}
	kinds := []struct {
		name string
		args []any
	}{
		{"scalars", []any{"some text", 1, true}},
		{"struct", []any{&profile{"lobby", "hello, everyone <here>", []string{"a", "b"}, 1700000000123}}},
		{"binary", []any{make([]byte, 100)}},
		{"relayed", received.Values()},
		{"4 KB", []any{long}},
	}
	for _, how := range []struct {
		name string
		opts Options
		emit func(*Socket, ...any) error
	}{
		{"socket", Options{}, func(s *Socket, args ...any) error { return s.Emit("message", args...) }},
		{"broadcast", Options{}, func(s *Socket, args ...any) error { return s.ns.Emit("message", args...) }},
		{"recovery", Options{Recovery: &Recovery{MaxBytes: 1 << 20}}, func(s *Socket, args ...any) error { return s.Emit("message", args...) }},
		{"msgpack", Options{Parser: parser.NewMessagePack(nil)}, func(s *Socket, args ...any) error { return s.Emit("message", args...) }},
	} {
		for _, kind := range kinds {
			b.Run(how.name+"/"+kind.name, func(b *testing.B) {
				o := how.opts
				o.DisableEpoll = true
				server := NewServer(&o)
				b.Cleanup(func() { _ = server.Close() })
				socket := sinkSocket(b, server, server.Of("/chat"))
				b.ReportAllocs()
				for b.Loop() {
					if err := how.emit(socket, kind.args...); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
