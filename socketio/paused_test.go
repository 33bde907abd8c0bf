package socketio_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/socketio"
)

// manyEvents returns events that are more than a limit of a thousand bytes, also while an acknowledgement is awaited, and
// little enough for the buffers of the kernel.
func manyEvents() (packets []string) {
	for i := range 300 {
		packets = append(packets, fmt.Sprintf(`42["e",%d]`, i))
	}
	return packets
}

// closeWrite ends the stream of p. Unlike Close, it lets the server receive everything that was sent, even if p has not read
// everything from the server.
func (p *peer) closeWrite() {
	conn := p.conn
	if secure, ok := conn.(*tls.Conn); ok {
		if err := secure.CloseWrite(); err != nil { // ends the TLS stream
			p.t.Error(err)
		}
		conn = secure.NetConn()
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		p.t.Error(err)
	}
}

// TestLeaveWhilePaused uses a client that sends more than the server queues, so that reading pauses, and then leaves while its
// handler waits for it. All its events are handled, and nothing of it is left.
func TestLeaveWhilePaused(t *testing.T) {
	waits := map[string]func(*socketio.Socket) error{
		"acknowledgement": func(s *socketio.Socket) error {
			_, err := s.EmitWithAck(s.Context(), "question")
			return err
		},
		"context": func(s *socketio.Socket) error {
			<-s.Context().Done()
			return context.Cause(s.Context())
		},
	}
	leave := map[string]func(p *peer){
		"close": (*peer).closeWrite,
		"close frame": func(p *peer) { // without an answer, because the connection is not read
			if err := wsutil.WriteClientMessage(p.conn, ws.OpClose, nil); err != nil {
				p.t.Error(err)
			}
			p.closeWrite()
		},
		"disconnect": func(p *peer) {
			p.send("41")
			p.closeWrite()
		},
	}
	events := manyEvents()
	var received, handled atomic.Int32
	waited, gone := make(chan error, 1), make(chan int32, 1)
	options := socketio.Options{MaxUnhandledBytes: 1000, Hooks: &socketio.Hooks{
		Packet: func(*engineio.Session, packet.Packet) { received.Add(1) },
	}}
	inEachMode(t, options, func(s *socketio.Server) {
		for name, wait := range waits {
			s.On(name, func(e *socketio.Event) { waited <- wait(e.Socket()) })
		}
		s.On("e", func(*socketio.Event) { handled.Add(1) })
		s.OnDisconnect(func(*socketio.Socket, socketio.DisconnectReason) { gone <- handled.Swap(0) })
	}, func(t *testing.T, s *socketio.Server, url string) {
		check := func(t *testing.T) {
			t.Helper()
			if err := receive(t, waited); !errors.Is(err, socketio.ErrDisconnected) {
				t.Errorf("the handler has waited for %v", err)
			}
			if n := int(receive(t, gone)); n != len(events) {
				t.Errorf("%d of %d events have been handled", n, len(events))
			}
			eventually(t, "the session has ended", func() bool { return s.Engine().ClientsCount() == 0 })
		}
		for wait := range waits {
			t.Run(wait+" polling", func(t *testing.T) {
				p := connectPoller(t, url)
				p.post(`42["` + wait + `"]`)
				received.Store(0)
				// The server does not respond before it has room. The client gives up.
				ctx, cancel := context.WithCancel(t.Context())
				given := make(chan struct{})
				go func() {
					defer close(given)
					_, _, _ = p.request(ctx, http.MethodPost, strings.Join(events, "\x1e"))
				}()
				eventually(t, "the events have been received", func() bool { return int(received.Load()) == len(events) })
				cancel()
				<-given
				check(t)
			})
			for how, leave := range leave {
				t.Run(wait+" "+how, func(t *testing.T) {
					p := connect(t, url, "")
					p.send(`42["` + wait + `"]`)
					p.send(events...)
					leave(p)
					check(t)
					p.conn.Close()
					eventually(t, "the descriptor is closed", func() bool { return s.Engine().Stats().WebSocket.Open == 0 })
				})
			}
		}
	})
}

// TestAckBehindUpload requests an acknowledgement from a client after reading has paused. Reading resumes, and the
// acknowledgement behind the upload arrives.
func TestAckBehindUpload(t *testing.T) {
	events := manyEvents()
	ask := map[string]func(*socketio.Socket) (socketio.Args, error){
		"one": func(s *socketio.Socket) (socketio.Args, error) { return s.EmitWithAck(s.Context(), "question") },
		"all": func(s *socketio.Socket) (socketio.Args, error) {
			answers, err := s.Namespace().Timeout(patience).EmitWithAck(s.Context(), "question")
			if len(answers) == 0 {
				return socketio.Args{}, err
			}
			return answers[0], err
		},
	}
	var received, handled atomic.Int32
	gate, got := make(chan struct{}), make(chan string, 1)
	options := socketio.Options{MaxUnhandledBytes: 10_000, Hooks: &socketio.Hooks{
		Packet: func(*engineio.Session, packet.Packet) { received.Add(1) },
	}}
	inEachMode(t, options, func(s *socketio.Server) {
		for name, ask := range ask {
			s.On(name, func(e *socketio.Event) {
				<-gate
				answer, err := ask(e.Socket())
				got <- fmt.Sprint(answer.At(0).String(), " ", err, " ", handled.Load())
			})
		}
		s.On("e", func(*socketio.Event) { handled.Add(1) })
	}, func(t *testing.T, s *socketio.Server, url string) {
		paused := func() bool { return received.Load() > 10_000/300 }
		answer := func(question string) string { return "43" + question[2:strings.Index(question, "[")] + `["yes"]` }
		check := func(t *testing.T) {
			t.Helper()
			if got, want := receive(t, got), `"yes" <nil> 0`; got != want {
				t.Errorf("answer, error and events handled before: %s, want %s", got, want)
			}
			eventually(t, "the events have been handled", func() bool { return int(handled.Load()) == len(events) })
			handled.Store(0)
			received.Store(0)
		}
		for name := range ask {
			t.Run("websocket "+name, func(t *testing.T) {
				p := connect(t, url, "")
				received.Store(0)
				p.send(`42["` + name + `"]`)
				p.send(events...)
				eventually(t, "the client is about not to be read", paused)
				gate <- struct{}{}
				p.send(answer(p.read()))
				check(t)
				p.conn.Close()
				eventually(t, "the client has gone", func() bool { return len(s.Sockets()) == 0 })
			})
			t.Run("polling "+name, func(t *testing.T) {
				p := connectPoller(t, url)
				p.post(`42["` + name + `"]`)
				received.Store(0)
				posted := make(chan error, 1)
				go func() {
					_, _, err := p.request(t.Context(), http.MethodPost, strings.Join(events, "\x1e"))
					posted <- err
				}()
				eventually(t, "the client is about not to be read", paused)
				select {
				case <-posted:
					t.Error("the POST has been answered")
				case <-time.After(20 * time.Millisecond):
				}
				gate <- struct{}{}
				question := p.read()[0]
				if err := receive(t, posted); err != nil {
					t.Fatal(err)
				}
				p.post(answer(question))
				check(t)
				p.post("1")
				eventually(t, "the client has gone", func() bool { return len(s.Sockets()) == 0 })
			})
		}
	})
}
