package socketio_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio"
)

// TestConnectIsOnePiece broadcasts to a room as soon as a client knows that it is connected. The handler that adds
// it to the room may still be running after it has sent the client an event.
func TestConnectIsOnePiece(t *testing.T) {
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		s.OnConnect(func(so *socketio.Socket) {
			_ = so.Emit("hello")
			for range 100 {
				runtime.Gosched()
			}
			_ = so.Join("room")
		})
		s.Of("/asks").OnConnect(func(so *socketio.Socket) {
			_, err := so.EmitWithAck(t.Context(), "who")
			_ = so.Emit("thanks", err == nil)
		})
	}, func(t *testing.T, s *socketio.Server, url string) {
		for range 20 {
			p := connect(t, url, "")
			_ = s.To("room").Emit("news")
			p.want(`42["hello"]`, `42["news"]`)
			p.conn.Close()
		}
		// A handler that waits for an acknowledgement of its client gets it.
		p := connect(t, url, "/asks,")
		question := p.read()
		p.send("43" + question[2:strings.Index(question, "[")] + "[]")
		p.want(`42/asks,["thanks",true]`)
	})
}

// TestSlowConnectHandler connects to a namespace whose handler waits. The client does not wait for it.
func TestSlowConnectHandler(t *testing.T) {
	gate := make(chan struct{})
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		s.SetLimits(20*time.Millisecond, patience)
		s.OnConnect(func(*socketio.Socket) { <-gate })
	}, func(t *testing.T, _ *socketio.Server, url string) { connect(t, url, "") })
	close(gate)
}

func TestPanic(t *testing.T) {
	reasons := make(chan socketio.DisconnectReason, 1)
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		s.On("panic", func(*socketio.Event) { panic("oh") })
		s.On("exit", func(*socketio.Event) { runtime.Goexit() })
		socketio.OnAck(s, "echo", func(_ *socketio.Socket, v string) string { return v })
		s.OnDisconnect(func(_ *socketio.Socket, r socketio.DisconnectReason) { reasons <- r })
	}, func(t *testing.T, _ *socketio.Server, url string) {
		other := connect(t, url, "")
		p := connect(t, url, "")
		p.send(`42["panic"]`)
		p.want("closed")
		if r := receive(t, reasons); r != socketio.ForcedClose {
			t.Errorf("reason: %q", r)
		}
		other.send(`420["echo","x"]`)
		other.want(`430["x"]`)
		other.send(`42["exit"]`)
		other.want("closed")
		receive(t, reasons)
	})
}

func TestDisconnectReasons(t *testing.T) {
	type end struct {
		reason socketio.DisconnectReason
		rooms  int
	}
	ends := make(chan end, 10)
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		s.OnConnect(func(so *socketio.Socket) {
			_ = so.Join("room")
			rooms := 0
			so.OnDisconnecting(func(socketio.DisconnectReason) { rooms = len(so.Rooms()) })
			so.OnDisconnect(func(r socketio.DisconnectReason) {
				ends <- end{r, rooms}
				if n := len(so.Rooms()); n != 0 {
					t.Errorf("still in %d rooms", n)
				}
				if err := so.Emit("x"); !errors.Is(err, socketio.ErrDisconnected) {
					t.Errorf("Emit: %v", err)
				}
			})
		})
		s.On("leave", func(e *socketio.Event) { e.Socket().Disconnect(false) })
		s.On("close", func(e *socketio.Event) { e.Socket().Disconnect(true) })
		s.Of("/other")
	}, func(t *testing.T, _ *socketio.Server, url string) {
		for _, test := range []struct {
			name string
			do   func(*peer)
			want socketio.DisconnectReason
		}{
			{"client leaves", func(p *peer) { p.send("41") }, socketio.ClientNamespaceDisconnect},
			{"connection ends", func(p *peer) { p.conn.Close() }, socketio.TransportClose},
			{"server disconnects", func(p *peer) { p.send(`42["leave"]`); p.want("41") }, socketio.ServerNamespaceDisconnect},
			{"server closes", func(p *peer) {
				p.send("40/other,")
				p.read()
				p.send(`42["close"]`)
				p.want("41", "41/other,", "closed")
			}, socketio.ServerNamespaceDisconnect},
			{"bad Engine.IO packet", func(p *peer) { p.send("x"); p.want("closed") }, socketio.ParseError},
			{"bad Socket.IO packet", func(p *peer) { p.send("4x"); p.want("closed") }, socketio.ForcedClose},
			{"wrong state", func(p *peer) { p.send(`42/none,["x"]`); p.want("closed") }, socketio.ForcedClose},
			{"ping from the client", func(p *peer) { p.send("2"); p.want("closed") }, socketio.TransportError},
		} {
			p := connect(t, url, "")
			test.do(p)
			if got := receive(t, ends); got != (end{test.want, 2}) {
				t.Errorf("%s: got %+v, want %q with 2 rooms", test.name, got, test.want)
			}
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 10 * time.Second
		s := newServer(t, &socketio.Options{ConnectTimeout: timeout, DisableEpoll: true})
		url, dialer := serveInMemory(t, s)
		joined := dialWith(t, dialer, url)
		joined.join("")
		start := time.Now()
		p := dialWith(t, dialer, url)
		p.send("40/none,")
		p.want(`44/none,{"message":"Invalid namespace"}`, "closed")
		if d := time.Since(start); d < timeout {
			t.Errorf("closed after %v", d)
		}
		joined.send(`41`, `40`)
		if got := joined.read(); !strings.HasPrefix(got, "40{") {
			t.Errorf("a client that had joined in time: %q", got)
		}
	})
}

func TestRecovery(t *testing.T) {
	s := newServer(t, &socketio.Options{Recovery: new(socketio.Recovery)})
	sockets := make(chan *socketio.Socket, 3)
	gone := make(chan struct{}, 3)
	s.OnConnect(func(so *socketio.Socket) {
		sockets <- so
		so.OnDisconnect(func(socketio.DisconnectReason) { gone <- struct{}{} })
	})
	url := serve(t, s)

	p := dial(t, url)
	p.send("40")
	answer := regexp.MustCompile(`^40\{"sid":"([^"]+)","pid":"([^"]+)"\}$`).FindStringSubmatch(p.read())
	if answer == nil {
		t.Fatal("no pid in the answer to CONNECT")
	}
	so := receive(t, sockets)
	_ = so.Join("room")
	so.SetData("kept")
	_ = so.Emit("first")
	first := p.read()
	offset := first[strings.LastIndex(first, ",")+1 : len(first)-1]
	p.conn.Close()
	receive(t, gone)
	_ = s.To("room").Emit("missed", []byte{1})
	_ = s.To("elsewhere").Emit("not for it")
	_ = s.Except("room").Emit("nor this")
	_ = s.To(so.ID()).Emit("direct")

	p = dial(t, url)
	p.send(`40{"pid":"` + answer[2] + `","offset":` + offset + `}`)
	if got := p.read(); !strings.HasPrefix(got, `451-["missed",{"_placeholder":true,"num":0},"`) {
		t.Errorf("first packet: %q", got)
	}
	p.want("b:01")
	if got := p.read(); !strings.HasPrefix(got, `42["direct","`) {
		t.Errorf("second packet: %q", got)
	}
	p.want(answer[0])
	again := receive(t, sockets)
	if !again.Recovered() || again.ID() != so.ID() || again.Data() != "kept" || len(again.Rooms()) != 2 {
		t.Errorf("resumed: %v, id %q, data %v, rooms %v", again.Recovered(), again.ID(), again.Data(), again.Rooms())
	}

	fresh := dial(t, url)
	fresh.send(`40{"pid":"` + answer[2] + `","offset":"unknown"}`)
	if got := fresh.read(); strings.Contains(got, answer[1]) {
		t.Errorf("an unknown offset resumes the session: %q", got)
	}
}

func TestShutdown(t *testing.T) {
	inEachMode(t, socketio.Options{}, func(*socketio.Server) {}, func(t *testing.T, s *socketio.Server, url string) {
		reasons := make(chan socketio.DisconnectReason, 10)
		s.OnDisconnect(func(_ *socketio.Socket, r socketio.DisconnectReason) { reasons <- r })
		peers := []*peer{connect(t, url, ""), connect(t, url, ""), dial(t, url)}
		if err := s.Emit("last"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(ctx) }()
		for _, p := range peers[:2] {
			p.want(`42["last"]`, "closed")
			p.conn.Close()
			if r := receive(t, reasons); r != socketio.ServerShuttingDown {
				t.Errorf("reason: %q", r)
			}
		}
		peers[2].want("closed")
		peers[2].conn.Close()
		if err := receive(t, done); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if n := s.Engine().ClientsCount(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		// Not over the network: the port may be another process's by now.
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("a handshake after Shutdown: status %d", w.Code)
		}
	})
}

func TestCloseAnswersPolls(t *testing.T) {
	const clients = 50
	server := newServer(t, nil)
	url := serveItself(t, server) + "/socket.io/?EIO=4&transport=polling"
	var parked sync.WaitGroup
	answers := make(chan string, clients)
	get := func(url string) string {
		res, err := http.Get(url)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return err.Error()
		}
		return string(body)
	}
	for range clients {
		open := get(url)
		sid := gjson.Get(open[1:], "sid").String()
		session := server.Engine().Session(sid)
		if session == nil {
			t.Fatalf("the handshake was answered %q", open)
		}
		eventually(t, "the handshake is over", func() bool { return !session.Writable() })
		parked.Go(func() { answers <- get(url + "&sid=" + sid) })
		eventually(t, "the poll waits", session.Writable)
	}
	if err := server.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	parked.Wait()
	for range clients {
		if got := <-answers; got != "1" {
			t.Errorf("a poll that waited was answered %q", got)
		}
	}
}

// When its socket is admitted, the session has ended, but the socket has not been notified yet.
func TestNoConnectionAfterTheEnd(t *testing.T) {
	middleware, ended, connected := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	server := newServer(t, &socketio.Options{Hooks: &socketio.Hooks{Close: func(*socketio.Session, engineio.CloseReason, error) {
		close(ended)
		select {
		case <-connected:
			t.Error("the socket is connected")
		case <-time.After(100 * time.Millisecond):
		}
	}}})
	server.Use(func(*socketio.Socket) error {
		close(middleware)
		<-ended
		return nil
	})
	server.OnConnect(func(*socketio.Socket) { connected <- struct{}{} })
	p := dial(t, serve(t, server))
	p.send("40")
	<-middleware
	p.conn.Close()
	<-ended
	eventually(t, "the session is gone", func() bool { return server.Engine().ClientsCount() == 0 })
}

// Clients connect while the server closes: each connection is served, refused or cut.
func TestCloseWhileConnectionsCome(t *testing.T) {
	for range 20 {
		server := newServer(t, nil)
		// Nobody else gets the address of a Unix socket when it is closed.
		l, err := net.Listen("unix", t.TempDir()+"/s")
		if err != nil {
			t.Fatal(err)
		}
		serveOn(t, server, l)
		var clients sync.WaitGroup
		started := make(chan struct{}, 8)
		for i := range 8 {
			clients.Go(func() {
				for {
					c, err := net.Dial("unix", l.Addr().String())
					if err != nil {
						return // it is closed
					}
					if i%2 == 0 {
						_, _ = io.WriteString(c, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n") // and not the end
					} else {
						_, _ = io.WriteString(c, "G")
					}
					select {
					case started <- struct{}{}:
					default:
					}
					c.Close()
				}
			})
		}
		<-started
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		clients.Wait()
	}
}

// A client may still send packets to a socket that Shutdown has just disconnected. That is not an error of the client.
func TestEventDuringShutdown(t *testing.T) {
	s := newServer(t, nil)
	reasons := make(chan socketio.DisconnectReason, 1)
	s.OnDisconnect(func(_ *socketio.Socket, r socketio.DisconnectReason) { reasons <- r })
	s.Of("/other")
	p := connect(t, serve(t, s), "")
	p.join("/other,")
	p.send("41/other,")
	s.SetClosing()
	p.send(`42/other,["late"]`)
	p.want("closed")
	if r := receive(t, reasons); r != socketio.ServerShuttingDown {
		t.Errorf("reason: %q", r)
	}
}
