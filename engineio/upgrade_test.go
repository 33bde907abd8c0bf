package engineio

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/transport"
)

func probing(p *poller) *socket {
	p.f.t.Helper()
	s := p.f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
	s.write("2probe")
	s.want("3probe")
	return s
}

func TestFailedProbes(t *testing.T) {
	tests := []struct {
		name string
		do   func(p *poller, s *socket)
	}{
		{"message", func(p *poller, s *socket) { s.write("4hello"); s.wantClose("") }},
		{"ping", func(p *poller, s *socket) { s.write("2"); s.wantClose("") }},
		{"garbage", func(p *poller, s *socket) { s.write("abc"); s.wantClose("") }},
		{"empty", func(p *poller, s *socket) { s.write(""); s.wantClose("") }},
		{"binary", func(p *poller, s *socket) { s.send(ws.OpBinary, []byte("5")); s.wantClose("") }},
		{"message after the probe", func(p *poller, s *socket) { s.write("2probe"); s.want("3probe"); s.write("4a"); s.wantClose("") }},
		{"drop", func(p *poller, s *socket) { s.conn.Close() }},
		{"drop after the probe", func(p *poller, s *socket) { s.write("2probe"); s.want("3probe"); s.conn.Close() }},
		{"close frame", func(p *poller, s *socket) { s.send(ws.OpClose, nil); _, _ = io.Copy(io.Discard, s.rw) }},
		{"second WebSocket", func(p *poller, s *socket) {
			p.f.dial("?EIO=4&transport=websocket&sid=" + p.sid).wantClose("")
			s.conn.Close()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := serve(t, Options{})
			p := f.poll()
			s := f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
			tt.do(p, s)
			p.wantPost("4still alive", 200, "ok")
			p.wantGet(200, "4still alive")
			session := f.server.Session(p.sid)
			eventually(t, "the attempt is over", func() bool {
				session.mu.Lock()
				defer session.mu.Unlock()
				return session.polling.upgrade == nil
			})
			s = p.upgrade()
			s.write("4again")
			s.want("4again")
		})
	}
}

func TestUpgradeWithoutProbe(t *testing.T) {
	f := serve(t, Options{DisableUpgrades: true})
	p := f.poll()
	answer := p.park()
	s := f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
	s.write("5", "4a")
	s.want("4a")
	want(t, answer, "200 1")
	p.wantGet(400, refused(3))
	p.wantPost("4a", 400, refused(3))
	f.dial("?EIO=4&transport=websocket&sid=" + p.sid).wantClose("")
	s.write("2probe")
	s.wantClose("") // a client does not ping
	f.session().expect(t, TransportError, "heartbeat")
}

func TestSecondWebSocket(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	s := p.upgrade()
	f.dial("?EIO=4&transport=websocket&sid=" + p.sid).wantClose("")
	s.write("4a")
	s.want("4a")
	s, open := f.open()
	f.dial("?EIO=4&transport=websocket&sid=" + open.SID).wantClose("")
	s.write("4a")
	s.want("4a")
	if n := f.server.Stats().Upgraded; n != 1 {
		t.Errorf("%d sessions were upgraded", n)
	}
}

func TestReleasedPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{})
		p := f.poll()
		e := f.session()
		s := f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
		start := time.Now()
		s.write("2probe")
		s.want("3probe")
		for i := range 3 {
			p.wantGet(200, "6")
			if d := time.Since(start); d < 100*time.Millisecond*time.Duration(i+1) || d > 120*time.Millisecond*time.Duration(i+1) {
				t.Errorf("poll %d was answered after %v", i, d)
			}
		}
		_ = e.s.Send(transport.TextMessage("a"))
		p.wantGet(200, "4a")
		p.wantPost("4b", 200, "ok")
		p.wantGet(200, "4b")
		s.write("5")
		synctest.Wait()
		if !e.s.Upgraded() {
			t.Error("not upgraded")
		}
	})
}

// TestUpgradingHook checks that the hook is called at the probe, and ends the session there.
func TestUpgradingHook(t *testing.T) {
	for name, end := range map[string]func(*Session){"close": (*Session).Close, "abort": (*Session).Abort} {
		t.Run(name, func(t *testing.T) {
			probed := make(chan struct{}, 10)
			f := serve(t, Options{Hooks: &Hooks{Upgrading: func(s *Session) {
				probed <- struct{}{}
				end(s)
			}}})
			p := f.poll()
			answer := p.park()
			s := f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
			if !f.server.Session(p.sid).Upgrading() || len(probed) > 0 {
				t.Error("called before the probe")
			}
			s.write("2probe")
			s.want("3probe")
			s.wantClose("")
			want(t, answer, "200 1")
			<-probed
		})
	}
}

func TestUpgradeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{})
		p := f.poll()
		e := f.session()
		s := probing(p)
		start := time.Now()
		s.wantClose("")
		if d := time.Since(start); d < 10*time.Second || d > 10*time.Second+50*time.Millisecond {
			t.Errorf("closed after %v", d)
		}
		p.wantPost("4a", 200, "ok")
		p.wantGet(200, "4a")
		if e.s.Transport() != Polling {
			t.Error("the session is not on polling")
		}
	})
}

// TestUpgradeAtTheTimeout completes an upgrade when its timer has just expired.
func TestUpgradeAtTheTimeout(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	s := probing(p)
	session := f.server.Session(p.sid)
	session.mu.Lock()
	u := session.polling.upgrade
	session.mu.Unlock()
	s.write("5", "4a")
	s.want("4a")
	(*upgradeTimeout)(u).Expire()
	s.write("4b")
	s.want("4b")
}

func TestSessionEndsDuringUpgrade(t *testing.T) {
	t.Run("discard", func(t *testing.T) {
		f := serve(t, Options{})
		p := f.poll()
		s := probing(p)
		session := f.session().s
		session.mu.Lock()
		u := session.polling.upgrade
		session.mu.Unlock()
		session.Abort()
		u.scheduleRelease() // as by a loop that has just sent the answer to the probe
		s.wantClose("")
		p.wantGone()
	})
	t.Run("client closes", func(t *testing.T) {
		f := serve(t, Options{})
		p := f.poll()
		s := probing(p)
		p.wantPost("1", 200, "ok")
		s.wantClose("")
		f.session().expect(t, TransportClose, "nil")
	})
	t.Run("graceful", func(t *testing.T) {
		f := serve(t, Options{})
		p := f.poll()
		e := f.session()
		s := probing(p)
		_ = e.s.Send(transport.TextMessage("a"))
		e.s.Close()
		if e.s.State() != StateClosing {
			t.Errorf("state %d", e.s.State())
		}
		s.write("5")
		s.want("4a")
		s.wantClose("")
		e.expect(t, ForcedClose, "nil")
	})
}

func TestUpgradeCutsPost(t *testing.T) {
	f := serve(t, Options{})
	began := f.watchPosts()
	p := f.poll()
	s := probing(p)
	conn := p.beginPost(10)
	<-began
	s.write("5", "4a")
	s.want("4a")
	if b, _ := io.ReadAll(conn); len(b) != 0 {
		t.Errorf("the POST was answered %q", b)
	}
}

func TestPausedUpgrade(t *testing.T) {
	got := make(chan string, 10)
	f := serve(t, Options{OnSession: func(s *Session) Handler {
		e := newEcho(s)
		e.on = func(data []byte, _ bool) bool { got <- string(data); return false }
		return e
	}})
	p := f.poll()
	session := f.server.Session(p.sid)
	session.Pause()
	s := p.upgrade()
	s.write("4a")
	session.Resume()
	if text := <-got; text != "a" {
		t.Errorf("%q", text)
	}
}

func TestCorkedUpgrade(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	session := f.server.Session(p.sid)
	session.Cork()
	_ = session.Send(transport.TextMessage("a"))
	s := p.upgrade()
	if session.Writable() {
		t.Error("the upgrade has uncorked the session")
	}
	_ = session.Send(transport.TextMessage("b"))
	session.Uncork()
	s.want("4a")
	s.want("4b")
}

// TestUpgradeUnderLoad sends 10,000 messages each way across an upgrade: none may be lost, doubled or
// overtaken.
func TestUpgradeUnderLoad(t *testing.T) {
	const n, rounds, step = 10000, 10, 100
	for _, disableEpoll := range []bool{false, true} {
		t.Run(fmt.Sprint("disableEpoll=", disableEpoll), func(t *testing.T) {
			received := make(chan int, n)
			var session *Session
			f := serve(t, Options{DisableEpoll: disableEpoll, PingInterval: time.Hour, OnSession: func(s *Session) Handler {
				session = s
				e := newEcho(s)
				e.on = func(data []byte, _ bool) bool {
					i, err := strconv.Atoi(string(data))
					if err != nil {
						i = -1
					}
					received <- i
					return false
				}
				return e
			}})
			p := f.poll()
			round := make(chan struct{}, rounds)
			go func() {
				for i := range n {
					switch {
					case i%step != 0:
					case i < rounds*step:
						<-round // or a poll would find nothing
					default:
						time.Sleep(time.Millisecond) // spread over the whole upgrade
					}
					m := transport.NewMessage()
					m.SetText(strconv.AppendInt(m.Buffer(), int64(i), 10))
					if err := session.Send(m); err != nil {
						t.Error(err)
					}
					m.Release()
				}
			}()

			sent, got := 0, 0
			take := func(packets string) {
				for _, packet := range strings.Split(packets, "\x1e") {
					if packet == "6" || packet == "1" {
						continue
					}
					if packet != fmt.Sprint("4", got) {
						t.Fatalf("message %d is %.20q", got, packet)
					}
					got++
				}
			}
			next := func(n int) string {
				var b strings.Builder
				for i := range n {
					if i > 0 {
						b.WriteByte(0x1E)
					}
					fmt.Fprintf(&b, "4%d", sent)
					sent++
				}
				return b.String()
			}
			for range rounds {
				round <- struct{}{}
				p.wantPost(next(100), 200, "ok")
				_, body := p.get()
				take(body)
			}
			// As clients do, finish the request in flight before the upgrade packet.
			s := f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
			s.write("2probe")
			polls := make(chan string)
			go func() {
				_, body := p.get()
				polls <- body
			}()
			p.wantPost(next(1000), 200, "ok")
			s.want("3probe")
			take(<-polls)
			s.write("5")
			go func() {
				for i := sent; i < n; i++ {
					s.write(fmt.Sprint("4", i))
				}
			}()
			for got < n {
				take(s.text())
			}
			for i := range n {
				if j := <-received; j != i {
					t.Fatalf("the server received %d in place of %d", j, i)
				}
			}
		})
	}
}
