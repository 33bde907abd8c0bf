package engineio

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/transport"
)

// client is a client of either transport. Binary messages are shown as "b" and base64.
type client interface {
	send(packets ...string)
	receive() string
	leave() // in an orderly way
	sees(reason CloseReason)
}

type pollingClient struct {
	*poller
	packets []string
}

func (c *pollingClient) send(packets ...string) { c.wantPost(strings.Join(packets, "\x1e"), 200, "ok") }

func (c *pollingClient) receive() string {
	for len(c.packets) == 0 {
		status, body := c.get()
		if status != 200 {
			c.f.t.Fatalf("GET: %d %q", status, body)
		}
		c.packets = strings.Split(body, "\x1e")
	}
	first := c.packets[0]
	c.packets = c.packets[1:]
	return first
}

func (c *pollingClient) leave() { c.send("1") }

func (c *pollingClient) sees(reason CloseReason) {
	c.f.t.Helper()
	for _, body := c.get(); !strings.Contains(body, "Session ID unknown"); _, body = c.get() {
		if body == "" {
			c.f.t.Errorf("GET is answered %q after %s", body, reason)
			return
		}
	}
}

type socketClient struct{ *socket }

func (c socketClient) send(packets ...string) {
	for _, p := range packets {
		if b, ok := strings.CutPrefix(p, "b"); ok {
			data, _ := base64.StdEncoding.DecodeString(b)
			c.socket.send(ws.OpBinary, data)
		} else {
			c.write(p)
		}
	}
}

func (c socketClient) receive() string {
	op, b := c.next()
	switch op {
	case ws.OpText:
		return string(b)
	case ws.OpBinary:
		return "b" + base64.StdEncoding.EncodeToString(b)
	}
	c.t.Fatalf("opcode %d %q", op, b)
	return ""
}

func (c socketClient) leave() { c.socket.send(ws.OpClose, ws.NewCloseFrameBody(1000, "")) }

func (c socketClient) sees(CloseReason) { c.wantClose("") }

// run runs a test over polling, WebSocket, an upgraded session, and WebSocket without epoll.
func run(t *testing.T, options Options, test func(t *testing.T, f *fixture, c client, e *echo)) {
	modes := []struct {
		name  string
		dial  func(f *fixture) client
		epoll bool
	}{
		{"polling", func(f *fixture) client { return &pollingClient{poller: f.poll()} }, true},
		{"websocket", func(f *fixture) client { s, _ := f.open(); return socketClient{s} }, true},
		{"upgraded", func(f *fixture) client { return socketClient{f.poll().upgrade()} }, true},
		{"goroutines", func(f *fixture) client { s, _ := f.open(); return socketClient{s} }, false},
	}
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			options := options
			options.DisableEpoll = !mode.epoll
			f := serve(t, options)
			c := mode.dial(f)
			e := f.session()
			test(t, f, c, e)
			eventually(t, "the session is forgotten", func() bool { return f.server.ClientsCount() == 0 })
		})
	}
}

func TestEcho(t *testing.T) {
	run(t, Options{}, func(t *testing.T, f *fixture, c client, e *echo) {
		packets := []string{"4", "4hello", "4€😀漢字", "bAQID", "b", `42["a",{"b":[1]}]`, "4\x00", "4" + strings.Repeat("a", 200000), "b" + base64.StdEncoding.EncodeToString(make([]byte, 70000))}
		c.send(packets...)
		for _, want := range packets {
			if got := c.receive(); got != want {
				t.Errorf("%.30q (%d bytes), want %.30q (%d bytes)", got, len(got), want, len(want))
			}
		}
		c.leave()
		e.expect(t, TransportClose, "nil")
	})
}

func TestServerCloses(t *testing.T) {
	run(t, Options{}, func(t *testing.T, f *fixture, c client, e *echo) {
		const n = 100
		for i := range n {
			_ = e.s.Send(transport.TextMessage(fmt.Sprint(i)))
		}
		e.s.Close()
		for i := range n {
			if got := c.receive(); got != fmt.Sprint("4", i) {
				t.Fatalf("message %d: %q", i, got)
			}
		}
		if p, ok := c.(*pollingClient); ok {
			p.wantGet(200, "6\x1e1")
		}
		c.sees(ForcedClose)
		e.expect(t, ForcedClose, "nil")
	})
}

func TestServerDiscards(t *testing.T) {
	run(t, Options{}, func(t *testing.T, f *fixture, c client, e *echo) {
		e.s.Abort()
		e.s.Abort()
		e.s.Close()
		c.sees(ForcedClose)
		e.expect(t, ForcedClose, "nil")
	})
}

func TestBadPackets(t *testing.T) {
	tests := []struct {
		packet string
		reason CloseReason
		err    string
	}{
		{"abc", ParseError, "unknown packet type"},
		{"", ParseError, "empty packet"},
		{"2", TransportError, "invalid heartbeat direction"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%q", tt.packet), func(t *testing.T) {
			run(t, Options{}, func(t *testing.T, f *fixture, c client, e *echo) {
				c.send(tt.packet)
				e.expect(t, tt.reason, tt.err)
				c.sees(tt.reason)
			})
		})
	}
}

func TestMeaninglessPackets(t *testing.T) {
	run(t, Options{}, func(t *testing.T, f *fixture, c client, e *echo) {
		c.send("0", "5", "6", "3", "3probe", "4a")
		if got := c.receive(); got != "4a" {
			t.Errorf("%q", got)
		}
		c.leave()
		e.expect(t, TransportClose, "nil")
	})
}

func TestCloseWithinHandler(t *testing.T) {
	for name, end := range map[string]func(*Session){"Close": (*Session).Close, "Abort": (*Session).Abort} {
		t.Run(name, func(t *testing.T) {
			sessions := make(chan *echo, 1)
			f := serve(t, Options{OnSession: func(s *Session) Handler {
				e := newEcho(s)
				e.on = func([]byte, bool) bool {
					end(s)
					if len(e.closed) > 0 || s.State() != StateClosed {
						t.Error("HandleClose was called during HandleMessage, or the session is not closed")
					}
					return false
				}
				sessions <- e
				return e
			}})
			s, _ := f.open()
			s.write("4a", "4b")
			s.wantClose("")
			(<-sessions).expect(t, ForcedClose, "nil")
		})
	}
}

func TestCloseWithinOnSession(t *testing.T) {
	for name, end := range map[string]func(*Session){"Close": (*Session).Close, "Abort": (*Session).Abort} {
		t.Run(name, func(t *testing.T) {
			sessions := make(chan *echo, 1)
			f := serve(t, Options{OnSession: func(s *Session) Handler {
				e := newEcho(s)
				_ = s.Send(transport.TextMessage("bye"))
				end(s)
				sessions <- e
				return e
			}})
			s, _ := f.open()
			s.want("4bye")
			s.wantClose("")
			(<-sessions).expect(t, ForcedClose, "nil")

			p := f.poll()
			if name == "Close" {
				p.wantGet(200, "4bye")
				p.wantGet(200, "6\x1e1")
			}
			p.wantGone()
			(<-sessions).expect(t, ForcedClose, "nil")
			if n := f.server.wheel.Len(); n > 0 {
				t.Errorf("%d timers hold sessions that have ended", n)
			}
		})
	}
}

func TestOnSessionPanics(t *testing.T) {
	f := serve(t, Options{OnSession: func(s *Session) Handler { panic("oops") }})
	if status, body, _ := f.do("GET", handshake, ""); status != 400 || body != refused(CodeBadRequest) {
		t.Errorf("%d %q", status, body)
	}
	s, _ := f.open()
	s.wantClose("")
	eventually(t, "the sessions are forgotten", func() bool { return f.server.ClientsCount() == 0 })
}

// TestCloseRaces ends sessions in every way at once while messages go both ways.
func TestCloseRaces(t *testing.T) {
	f := serve(t, Options{})
	message := transport.TextMessage("x")
	var wg sync.WaitGroup
	for i := range 40 {
		var write func()
		if i%2 == 0 {
			s, _ := f.open()
			write = func() { s.write("4a", "4b") }
		} else {
			p := f.poll()
			write = func() { _, _, _, _ = f.try("POST", p.query, strings.NewReader("4a\x1e4b")) }
		}
		e := f.session()
		for _, do := range []func(){
			func() { _ = e.s.Send(message) }, func() { _ = e.s.Send(message) }, e.s.Pause, e.s.Resume,
			func() { e.s.Writable() }, e.s.Close, e.s.Abort, write,
		} {
			wg.Go(do)
		}
		wg.Wait()
		e.expect(t, ForcedClose, "nil")
		if len(e.closed) > 0 {
			t.Error("HandleClose was called twice")
		}
	}
}
