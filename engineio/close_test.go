package engineio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
)

func TestServerClose(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	answer := p.park()
	s, _ := f.open()
	u := f.poll().upgrade()
	half := probing(f.poll())
	for _, e := range []*socket{s, u, half} {
		go func() { _, _ = io.Copy(io.Discard, e.rw) }() // answers nothing
	}
	if err := f.server.Close(); err != nil {
		t.Error(err)
	}
	want(t, answer, "200 1")
	for range 4 {
		f.session().expect(t, ForcedClose, "nil")
	}
	if status, _, _ := f.do("GET", handshake, ""); status != 503 {
		t.Errorf("status %d", status)
	}
	if got := f.raw(upgradeRequest("?EIO=4&transport=websocket")); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("%q", got)
	}
	p.wantGone()
	stats := f.server.Stats()
	if stats.Opened != 4 || stats.Closed[ForcedClose] != 4 || stats.Sessions != 0 || stats.WebSocket.Open != 0 {
		t.Errorf("%+v", stats)
	}
	if err := f.server.Close(); err != nil {
		t.Error(err)
	}
}

func TestShutdown(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	polling := f.session().s
	_ = polling.Send(transport.TextMessage("a"))
	s, _ := f.open()
	_ = f.session().s.Send(transport.TextMessage("b"))
	done := make(chan error)
	go func() { done <- f.server.Shutdown(context.Background()) }()
	s.want("4b")
	s.wantClose("")
	s.conn.Close()
	eventually(t, "the polling session is closing", func() bool { return polling.State() == StateClosing })
	p.wantGet(200, "4a")
	p.wantGet(200, "6\x1e1")
	if err := <-done; err != nil {
		t.Error(err)
	}

	f = serve(t, Options{})
	p = f.poll()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := f.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v", err)
	}
	p.wantGone()
}

// TestHandleCloseComesLast handles a message while another goroutine ends the session.
func TestHandleCloseComesLast(t *testing.T) {
	f := serve(t, Options{})
	f.open()
	e := f.session()
	eventually(t, "the session is open", func() bool { return f.server.Session(e.s.ID()) != nil })
	for i := range f.server.sessions.shards {
		f.server.sessions.shards[i].mu.Lock()
	}
	e.s.enter()
	go e.s.Abort()
	eventually(t, "the session ends", func() bool { return e.s.State() == StateClosed })
	e.s.leave()
	if len(e.closed) > 0 {
		t.Error("HandleClose was called although the server still has the session")
	}
	for i := range f.server.sessions.shards {
		f.server.sessions.shards[i].mu.Unlock()
	}
	e.expect(t, ForcedClose, "nil")
}

func TestManyParkedPolls(t *testing.T) {
	const n = 300
	f := serve(t, Options{PingInterval: time.Hour})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			status, body, _, err := f.try("GET", handshake, strings.NewReader(""))
			if err != nil || status != 200 {
				t.Errorf("handshake: status %d, %v", status, err)
				return
			}
			sid := strings.Split(body, `"`)[3]
			if _, body, _, err = f.try("GET", handshake+"&sid="+sid, strings.NewReader("")); err != nil || body != "1" {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	parked := func() (n int) {
		for _, s := range f.server.Sessions() {
			if s.Writable() {
				n++
			}
		}
		return n
	}
	eventually(t, "all wait", func() bool { return parked() == n })
	f.server.Close()
	wg.Wait()
}

func TestHooks(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	see := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, what)
	}
	hooks := &Hooks{
		Packet:       func(_ *Session, p packet.Packet) { see(fmt.Sprintf("in %s %s", p.Type, p.Data)) },
		PacketCreate: func(_ *Session, p packet.Packet) { see(fmt.Sprintf("out %s %s", p.Type, p.Data)) },
		Drain:        func(*Session) { see("drain") },
		Flush:        func(*Session) {},
		Upgrading:    func(*Session) { see("upgrading") },
		Upgrade:      func(s *Session) { see("upgrade " + s.Transport()) },
		Heartbeat:    func(*Session) { see("heartbeat") },
	}
	for _, everywhere := range []bool{true, false} {
		seen = nil
		f := serve(t, Options{})
		if everywhere {
			f = serve(t, Options{Hooks: hooks})
		}
		p := f.poll()
		if !everywhere {
			f.session().s.SetHooks(hooks)
		}
		p.wantPost("4a\x1e3", 200, "ok")
		p.wantGet(200, "4a")
		p.upgrade()
		f.server.Close()
		mu.Lock()
		got := strings.Join(seen, ", ")
		mu.Unlock()
		if want := "in message a, out message a, in pong , heartbeat, drain, upgrading, upgrade websocket"; got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// TestHooksPanic panics in each hook, on each goroutine that calls it. Only the session of the hook ends.
func TestHooksPanic(t *testing.T) {
	fail := func(*Session) { panic("for the test") }
	onPacket := func(*Session, packet.Packet) { panic("for the test") }
	for name, hooks := range map[string]*Hooks{
		"open":      {Open: fail},
		"close":     {Close: func(*Session, CloseReason, error) { panic("for the test") }},
		"packet":    {Packet: onPacket},
		"create":    {PacketCreate: onPacket},
		"flush":     {Flush: fail},
		"drain":     {Drain: fail},
		"heartbeat": {Heartbeat: fail},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, Options{Hooks: hooks, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
			other, _ := f.open()
			ours := f.session()
			s, _ := f.open()
			theirs := f.session()
			if name != "open" {
				ours.s.SetHooks(new(Hooks))
				other.write("4a")
				other.want("4a")
				s.write("3", "4a")
			}
			if name == "close" {
				theirs.s.Abort()
			}
			eventually(t, "the session ends", func() bool { return len(theirs.closed) > 0 && f.server.Session(theirs.s.ID()) == nil })
			if name != "open" {
				other.write("4b")
				other.want("4b")
			}
		})
	}
}
