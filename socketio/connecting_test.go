package socketio

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/engineio/packet"
)

// onPacket calls f in the moment in which the session of c is about to send a packet.
func onPacket(c *client, f func(text string)) {
	c.session.SetHooks(&engineio.Hooks{PacketCreate: func(_ *engineio.Session, p packet.Packet) { f(string(p.Data)) }})
}

// TestClientLeavesAtOnce sends an event and leaves before the connection handlers have been called. They are called
// nevertheless, followed by the handlers for the event and the disconnection.
func TestClientLeavesAtOnce(t *testing.T) {
	server, _ := quietServer(t, Options{Recovery: new(Recovery)})
	n := server.root
	other := join(t, n, open(t, server))
	auth := ""
	want := []string{"connect", "event", "gone"}
	for _, name := range []string{"new", "resumed"} {
		t.Run(name, func(t *testing.T) {
			seen, gone := []string(nil), make(chan struct{})
			n.connect.clear()
			n.OnConnect(func(s *Socket) {
				seen = append(seen, "connect")
				s.On("e", func(*Event) { seen = append(seen, "event") })
				s.OnDisconnect(func(DisconnectReason) {
					seen = append(seen, "gone")
					close(gone)
				})
			})
			c := open(t, server)
			left := false
			onPacket(c, func(text string) {
				if !strings.HasPrefix(text, "0") || left {
					return
				}
				left = true
				s := c.socket("/")
				if s.Recovered() != (name == "resumed") {
					t.Errorf("resumed: %v", s.Recovered())
				}
				auth = s.more().pid
				c.HandleMessage([]byte(`2["e"]`), false)
				c.HandleClose(engineio.TransportClose, nil)
			})
			c.HandleMessage([]byte("0"+auth), false)
			c.schedule()
			<-gone
			if !slices.Equal(seen, want) {
				t.Errorf("seen %q, want %q", seen, want)
			}
			_ = other.Emit("x") // has an offset
			texts := other.client.sent()
			last := texts[len(texts)-1]
			auth = `{"pid":"` + auth + `","offset":` + last[strings.LastIndex(last, ",")+1:len(last)-1] + `}`
		})
	}
}

// TestRejoin joins again as soon as the server has sent DISCONNECT. The first socket is no longer there, and its disconnection
// handlers are called before the connection handlers of the second.
func TestRejoin(t *testing.T) {
	s, _ := connected(t)
	n, c := s.ns, s.client
	var seen []string
	n.OnConnect(func(*Socket) { seen = append(seen, "connect") })
	n.OnDisconnect(func(*Socket, DisconnectReason) { seen = append(seen, "gone") })
	onPacket(c, func(text string) {
		if text == "1" {
			c.HandleMessage([]byte("0"), false)
		}
	})
	s.Disconnect(false)
	eventually(t, func() bool { return len(c.sent()) == 3 })
	if texts := c.sent(); texts[1] != "1" || !strings.HasPrefix(texts[2], "0{") {
		t.Errorf("sent %q", texts)
	}
	done := make(chan struct{})
	c.queue.push(func() { close(done) })
	c.schedule()
	<-done
	if want := []string{"gone", "connect"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// eventually waits until done returns true.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		if t.Context().Err() != nil {
			t.FailNow()
		}
		runtime.Gosched()
	}
}

// TestPanicOfLastHandlers panics in a handler for disconnection: the socket leaves its rooms all the same.
func TestPanicOfLastHandlers(t *testing.T) {
	s, logged := connected(t)
	n, c := s.ns, s.client
	_ = s.Join("room")
	told := false
	n.OnDisconnecting(func(*Socket, DisconnectReason) { panic("for the test") })
	n.OnDisconnect(func(*Socket, DisconnectReason) { told = true })
	s.end(TransportClose, nil)
	c.Run()
	logged.want(t, 1)
	if !told || len(n.Rooms()) > 0 || s.status.state() != stateGone {
		t.Errorf("told: %v, rooms %q, state %d", told, n.Rooms(), s.status.state())
	}
}

// TestContext checks the context of sockets that never connect.
func TestContext(t *testing.T) {
	server, _ := quietServer(t, Options{})
	n := server.root
	entered, decide := make(chan *Socket), make(chan error)
	n.Use(func(s *Socket) error {
		entered <- s
		return <-decide
	})
	ended := func(what string, s *Socket, want DisconnectReason) {
		t.Helper()
		<-s.Context().Done()
		var cause *DisconnectError
		if err := context.Cause(s.Context()); !errors.As(err, &cause) || cause.Reason != want {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := s.EmitWithAck(t.Context(), "x"); err != ErrDisconnected {
			t.Errorf("%s: EmitWithAck: %v", what, err)
		}
	}
	c := open(t, server)
	c.join(n, nil)
	c.schedule()
	s := <-entered
	asked := make(chan error)
	go func() {
		_, err := s.EmitWithAck(t.Context(), "x")
		asked <- err
	}()
	eventually(t, s.waits)
	s.end(PingTimeout, nil)
	ended("the client goes during middleware", s, PingTimeout)
	if err := <-asked; err != ErrDisconnected {
		t.Errorf("a wait for the client: %v", err)
	}
	decide <- nil

	c.join(n, nil)
	c.schedule()
	s = <-entered
	ctx := s.Context()
	decide <- errors.New("no")
	<-ctx.Done()
	ended("middleware refuses", s, ServerNamespaceDisconnect)
}

func (s *Socket) waits() bool {
	x := s.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.acks) > 0
}
