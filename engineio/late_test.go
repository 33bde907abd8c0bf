package engineio

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"
)

// rounds is how often a test tries to hit a race.
const rounds = 200

// TestPollBesideClose sends a GET and, as soon as that has been written, on another connection, a POST that closes the
// session. In either order of arrival, the GET is answered with the close, and the next one finds no session.
func TestPollBesideClose(t *testing.T) {
	tests := []struct {
		body   string
		answer string
		reason CloseReason
	}{
		{"1", "200 6", TransportClose},
		{"4a\x1eabc", "200 1", ParseError},
		{"2", "200 1", TransportError},
	}
	f := serve(t, Options{OnSession: func(s *Session) Handler {
		e := newEcho(s)
		e.on = func([]byte, bool) bool { return false }
		return e
	}})
	for _, tt := range tests {
		for range rounds {
			p := f.poll()
			sent, answer := p.send()
			<-sent
			p.wantPost(tt.body, 200, "ok")
			want(t, answer, tt.answer)
			p.wantGone()
			if t.Failed() {
				t.Fatalf("after POST %q", tt.body)
			}
		}
	}
}

// send sends a GET. The first channel is closed when it has been written, the second has its response.
func (p *poller) send() (sent <-chan struct{}, answer <-chan string) {
	written, got := make(chan struct{}), make(chan string, 1)
	ctx := httptrace.WithClientTrace(p.f.t.Context(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { close(written) },
	})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.f.http.URL+path+p.query, http.NoBody)
	if err != nil {
		p.f.t.Fatal(err)
	}
	go func() {
		response, err := p.f.http.Client().Do(r)
		if err != nil {
			got <- err.Error()
			return
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		got <- fmt.Sprint(response.StatusCode, " ", string(b), errText(err))
	}()
	return written, got
}

// TestPollBehindClose has the POST arrive before the GET.
func TestPollBehindClose(t *testing.T) {
	f := serve(t, Options{})
	leave := func(p *poller) (posted chan string) {
		posted = make(chan string, 1)
		go func() {
			status, body, _, err := f.try("POST", p.query, strings.NewReader("1"))
			posted <- fmt.Sprint(status, " ", body, errText(err))
		}()
		return posted
	}
	p := f.poll()
	e := f.session()
	posted := leave(p)
	e.expect(t, TransportClose, "nil")
	if f.server.ClientsCount() != 0 || len(f.server.Sessions()) != 0 || f.server.Session(p.sid) != nil {
		t.Error("the session has not ended")
	}
	p.wantGet(200, "6")
	p.wantGone()
	want(t, posted, "200 ok")

	// A client that does not poll meanwhile finds no session afterwards.
	p = f.poll()
	e = f.session()
	posted = leave(p)
	e.expect(t, TransportClose, "nil")
	if got := f.raw(upgradeRequest("?EIO=4&transport=websocket&sid=" + p.sid)); !strings.Contains(got, "Session ID unknown") {
		t.Errorf("an upgrade is answered %q", got)
	}
	want(t, posted, "200 ok")
	p.wantGone()
	eventually(t, "the session is forgotten", func() bool { return f.server.sessions.get(p.sid) == nil })
}

// TestRequestBehindUpgradePacket sends the upgrade packet and, at once, a request by polling.
func TestRequestBehindUpgradePacket(t *testing.T) {
	for _, disableEpoll := range []bool{false, true} {
		t.Run(fmt.Sprint("disableEpoll=", disableEpoll), func(t *testing.T) {
			f := serve(t, Options{DisableEpoll: disableEpoll})
			for i := range rounds {
				p := f.poll()
				s := probing(p)
				s.write("5")
				if i%2 == 0 {
					p.wantGet(400, refused(3))
				} else {
					p.wantPost("4a", 400, refused(3))
				}
				s.write("4b")
				s.want("4b")
				s.conn.Close()
				if t.Failed() {
					t.Fatalf("round %d", i)
				}
			}
		})
	}
}

// TestUpgradeDuringPost completes an upgrade while the packets of a POST are being handed over. The loop must not wait
// for them.
func TestUpgradeDuringPost(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	f := serve(t, Options{Loops: 1, OnSession: func(s *Session) Handler {
		e := newEcho(s)
		e.on = func(data []byte, _ bool) bool {
			if string(data) == "block" {
				close(entered)
				<-release
			}
			_ = s.SendText(string(data))
			return false
		}
		return e
	}})
	p := f.poll()
	s := f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
	s.write("2probe")
	s.want("3probe")
	other, _ := f.open()
	posted := make(chan string, 1)
	go func() {
		status, body, _, err := f.try("POST", p.query, strings.NewReader("4block"))
		posted <- fmt.Sprint(status, " ", body, errText(err))
	}()
	<-entered
	s.write("5")
	s.wantClose("") // the client should have waited for the answer
	other.write("4x")
	other.want("4x")
	close(release)
	want(t, posted, "200 ok")
	p.wantGet(200, "4block")
}

// TestPollLostDuringPost uses a client that sends its last messages and aborts its GET. They are handled before the session
// ends.
func TestPollLostDuringPost(t *testing.T) {
	got := make(chan string, 10)
	f := serve(t, Options{OnSession: func(s *Session) Handler {
		e := newEcho(s)
		e.on = func(data []byte, _ bool) bool { got <- string(data); return false }
		return e
	}})
	began := f.watchPosts()
	p := f.poll()
	session := f.server.Session(p.sid)
	conn := p.beginPost(4)
	<-began
	poll := f.connect()
	fmt.Fprintf(poll, "GET %s%s HTTP/1.1\r\nHost: localhost\r\n\r\n", path, p.query)
	eventually(t, "the GET waits", session.Writable)
	poll.Close()
	eventually(t, "the GET is lost", func() bool { return !session.Writable() })
	if session.State() != StateOpen {
		t.Error("the session has ended before its POST")
	}
	_, _ = io.WriteString(conn, "bye")
	select {
	case text := <-got:
		if text != "bye" {
			t.Errorf("%q", text)
		}
	case <-time.After(patience):
		t.Fatal("the message is lost")
	}
	eventually(t, "the session ends", func() bool { return session.State() == StateClosed })
}
