package socketio_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/socketio"
)

// inEachModeRecovering is inEachMode with recovery off and on.
func inEachModeRecovering(t *testing.T, setUp func(*socketio.Server), test func(*testing.T, *socketio.Server, string)) {
	for name, recovery := range map[string]*socketio.Recovery{"plain": nil, "recovery": {}} {
		t.Run(name, func(t *testing.T) { inEachMode(t, socketio.Options{Recovery: recovery}, setUp, test) })
	}
}

// TestVolatileFromMany broadcasts the events of 20 clients to one that only listens.
func TestVolatileFromMany(t *testing.T) {
	const senders, each, interval = 20, 100, 5 * time.Millisecond
	inEachModeRecovering(t, func(s *socketio.Server) {
		s.On("position", func(e *socketio.Event) {
			_ = e.Socket().Broadcast().Volatile().Emit("position", e.Args().At(0))
		})
		s.On("end", func(e *socketio.Event) { _ = e.Socket().Broadcast().Emit("end") })
	}, func(t *testing.T, _ *socketio.Server, url string) {
		listener := connect(t, url, "")
		var peers []*peer
		for range senders {
			p := connect(t, url, "")
			peers = append(peers, p)
			go p.discard()
		}
		var wg sync.WaitGroup
		for i, p := range peers {
			wg.Go(func() {
				time.Sleep(interval * time.Duration(i) / senders)
				for range each {
					p.send(`42["position",1]`)
					time.Sleep(interval)
				}
				p.send(`42["end"]`)
			})
		}
		count := 0
		for ends := 0; ends < senders; {
			switch text := listener.read(); {
			case strings.HasPrefix(text, `42["position"`):
				count++
			case strings.HasPrefix(text, `42["end"`):
				ends++
			default:
				t.Fatalf("got %q", text)
			}
		}
		wg.Wait()
		if count != senders*each {
			t.Errorf("%d of %d volatile events have come", count, senders*each)
		}
	})
}

// discard reads until the end.
func (p *peer) discard() {
	b := make([]byte, 4096)
	for {
		if _, err := p.conn.Read(b); err != nil {
			return
		}
	}
}

// TestVolatileOfOneTurn sends volatile events behind other packets in one call of a handler of the client.
func TestVolatileOfOneTurn(t *testing.T) {
	inEachModeRecovering(t, func(s *socketio.Server) {
		s.StopClock()
		s.On("regular", func(e *socketio.Event) {
			_ = e.Socket().Emit("ev", 1)
			_ = e.Socket().Volatile().Emit("ev", 2)
			_ = e.Socket().Emit("end")
		})
		s.On("volatile", func(e *socketio.Event) {
			for i := range 3 {
				_ = e.Socket().Volatile().Emit("ev", i)
			}
			_ = e.Socket().Emit("end")
		})
		s.On("broadcast", func(e *socketio.Event) {
			for i := range 3 {
				_ = e.Socket().Namespace().Volatile().Emit("ev", i)
			}
			_ = e.Socket().Emit("end")
		})
		s.On("ack", func(e *socketio.Event) {
			_ = e.Ack()
			_ = e.Socket().Volatile().Emit("ev", 1)
			_ = e.Socket().Emit("end")
		})
	}, func(t *testing.T, _ *socketio.Server, url string) {
		p := connect(t, url, "")
		for range 10 { // each is a turn of its own
			for event, want := range map[string]string{
				`2["regular"]`: `2["ev",1`, `2["volatile"]`: `2["ev",0`, `2["broadcast"]`: `2["ev",0`, `20["ack"]`: `30[`,
			} {
				p.send("4" + event)
				if first, second := p.read(), p.read(); !strings.HasPrefix(first, "4"+want) || !strings.HasPrefix(second, `42["end"`) {
					t.Fatalf("%s: %q %q", event, first, second)
				}
			}
		}
	})
}

// TestVolatileOften sends a volatile event every millisecond: outside of handlers, where all arrive, and inside of one.
func TestVolatileOften(t *testing.T) {
	var arrived atomic.Bool
	inEachModeRecovering(t, func(s *socketio.Server) {
		s.On("go", func(e *socketio.Event) {
			so := e.Socket()
			go func() {
				for i := range 100 {
					_ = so.Volatile().Emit("tick", i)
					time.Sleep(time.Millisecond)
				}
				_ = so.Emit("end")
			}()
		})
		s.On("stay", func(e *socketio.Event) {
			for i := 0; !arrived.Load(); i++ {
				_ = e.Socket().Volatile().Emit("tick", i)
				time.Sleep(time.Millisecond)
			}
			_ = e.Socket().Emit("end")
		})
	}, func(t *testing.T, _ *socketio.Server, url string) {
		p := connect(t, url, "")
		p.send(`42["go"]`)
		for i := range 100 {
			if got := p.read(); !strings.HasPrefix(got, fmt.Sprintf(`42["tick",%d`, i)) {
				t.Fatalf("got %q, want number %d", got, i)
			}
		}
		p.read()
		arrived.Store(false)
		p.send(`42["stay"]`)
		for range 3 { // the first one in its turn, the others after the turn has ended
			if got := p.read(); !strings.HasPrefix(got, `42["tick"`) {
				t.Fatalf("got %q", got)
			}
		}
		arrived.Store(true)
		for !strings.HasPrefix(p.read(), `42["end"`) {
		}
	})
}

// TestVolatileForOneThatDoesNotRead floods a client that does not read. It stays connected, because nothing is queued for it
// outside of the kernel.
func TestVolatileForOneThatDoesNotRead(t *testing.T) {
	const count, size, most = 20_000, 2_000, 32 << 20
	inEachMode(t, socketio.Options{MaxQueuedBytes: 64 << 10}, func(*socketio.Server) {}, func(t *testing.T, s *socketio.Server, url string) {
		p := connect(t, url, "")
		data := strings.Repeat("x", size)
		for range count {
			if err := s.Volatile().Emit("v", data); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Emit("end"); err != nil {
			t.Fatal(err)
		}
		got := 0
		for text := p.read(); text != `42["end"]`; text = p.read() {
			if text == "closed" {
				t.Fatal("the client has been disconnected")
			}
			got += len(text)
		}
		if got > most || got == 0 {
			t.Errorf("%d bytes of %d have waited", got, count*size)
		}
	})
}

func TestVolatileOverPolling(t *testing.T) {
	inEachMode(t, socketio.Options{}, func(*socketio.Server) {}, func(t *testing.T, s *socketio.Server, url string) {
		p := connectPoller(t, url)
		so := s.Sockets()[0]
		for range 3 {
			_ = s.Volatile().Emit("v", "without a poll")
			_ = s.Emit("end")
			if got, want := p.read(), []string{`42["end"]`}; !slices.Equal(got, want) {
				t.Fatalf("without a poll: got %q", got)
			}
			polled := make(chan []string)
			go func() { polled <- p.read() }()
			eventually(t, "a poll is under way", so.Session().Writable)
			_ = s.Volatile().Emit("v", 1)
			_ = s.Volatile().Emit("v", 2)
			if got, want := receive(t, polled), []string{`42["v",1]`}; !slices.Equal(got, want) {
				t.Fatalf("with a poll: got %q", got)
			}
		}
	})
}

// TestMaxQueuedBytesTotal uses two clients that do not poll. Only the one with the longer queue is disconnected.
func TestMaxQueuedBytesTotal(t *testing.T) {
	inEachMode(t, socketio.Options{MaxQueuedBytesTotal: 1 << 20}, func(*socketio.Server) {}, func(t *testing.T, s *socketio.Server, url string) {
		connectPoller(t, url)
		slow := s.Sockets()[0]
		reasons := make(chan socketio.DisconnectReason, 1)
		slow.OnDisconnect(func(reason socketio.DisconnectReason) { reasons <- reason })
		waiting := connectPoller(t, url)
		id := s.Sockets()[0].ID()
		if id == slow.ID() {
			id = s.Sockets()[1].ID()
		}
		data := strings.Repeat("x", 300<<10)
		for _, to := range []string{slow.ID(), slow.ID(), slow.ID(), id} {
			if err := s.To(to).Emit("data", data); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case reason := <-reasons:
			if reason != socketio.TransportError {
				t.Errorf("disconnected with %q", reason)
			}
		case <-time.After(patience):
			t.Fatal("the slow client is still connected")
		}
		if got := waiting.read(); len(got) != 1 || got[0] != `42["data","`+data+`"]` {
			t.Errorf("%.100q", got)
		}
	})
}
