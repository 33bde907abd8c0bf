package engineio

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

func TestPollingViolations(t *testing.T) {
	tests := []struct {
		name   string
		do     func(p *poller)
		parked string // the response to a waiting GET
		reason CloseReason
		err    string
	}{
		{"second GET", func(p *poller) { p.wantGet(400, "") }, "200 1", TransportError, "overlap from client"},
		{"octet-stream", func(p *poller) {
			if status, body, _ := p.f.do("POST", p.query, "4a", "Content-Type", "application/octet-stream"); status != 400 || body != "" {
				p.f.t.Errorf("%d %q", status, body)
			}
		}, "200 1", TransportError, "invalid content"},
		{"unknown packet type", func(p *poller) { p.wantPost("abc", 200, "ok") }, "200 1", ParseError, "packet"},
		{"empty body", func(p *poller) { p.wantPost("", 200, "ok") }, "200 1", ParseError, "packet"},
		{"trailing separator", func(p *poller) { p.wantPost("6\x1e", 200, "ok") }, "200 1", ParseError, "packet"},
		{"leading separator", func(p *poller) { p.wantPost("\x1e4a", 200, "ok") }, "200 1", ParseError, "packet"},
		{"ping", func(p *poller) { p.wantPost("2", 200, "ok") }, "200 1", TransportError, "invalid heartbeat direction"},
		{"close packet", func(p *poller) { p.wantPost("1\x1e4a\x1eabc", 200, "ok") }, "200 6", TransportClose, "nil"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := serve(t, Options{})
			p := f.poll()
			answer := p.park()
			tt.do(p)
			want(t, answer, tt.parked)
			f.session().expect(t, tt.reason, tt.err)
			p.wantGone()

			if tt.name == "second GET" {
				return
			}
			p = f.poll()
			tt.do(p)
			f.session().expect(t, tt.reason, tt.err)
			p.wantGone()
		})
	}
}

func TestAbortedPoll(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	e := f.session()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", f.http.URL+path+p.query, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := f.http.Client().Do(r); err == nil {
			response.Body.Close()
		}
	}()
	eventually(t, "the GET waits", e.s.Writable)
	cancel()
	<-done
	e.expect(t, TransportError, "poll connection closed prematurely")
	p.wantGone()
}

// beginPost sends the head of a POST and returns the connection, on which body can be sent.
func (p *poller) beginPost(length int) net.Conn {
	p.f.t.Helper()
	conn := p.f.connect()
	fmt.Fprintf(conn, "POST %s%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n4", path, p.query, length)
	return conn
}

// connect returns a connection to the server.
func (f *fixture) connect() net.Conn {
	f.t.Helper()
	conn, err := f.dialNet(f.t.Context(), "tcp", f.http.Listener.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(f.patience))
	return conn
}

// watchPosts returns a channel that receives when a POST begins to be read.
func (f *fixture) watchPosts() <-chan struct{} {
	began := make(chan struct{}, 1)
	f.server.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				r.Body = &watchedBody{r.Body, began}
			}
			next.ServeHTTP(w, r)
		})
	})
	return began
}

type watchedBody struct {
	io.ReadCloser
	began chan<- struct{}
}

func (b *watchedBody) Read(p []byte) (int, error) {
	select {
	case b.began <- struct{}{}:
	default:
	}
	return b.ReadCloser.Read(p)
}

func TestAbortedPost(t *testing.T) {
	f := serve(t, Options{})
	began := f.watchPosts()
	p := f.poll()
	answer := p.park()
	conn := p.beginPost(10)
	<-began
	conn.Close()
	want(t, answer, "200 1")
	f.session().expect(t, TransportError, "data request connection closed prematurely")
	p.wantGone()
}

func TestSecondPost(t *testing.T) {
	f := serve(t, Options{})
	began := f.watchPosts()
	p := f.poll()
	answer := p.park()
	conn := p.beginPost(10)
	<-began
	p.wantPost("4a", 400, "")
	want(t, answer, "200 1")
	if b, err := io.ReadAll(conn); len(b) != 0 {
		t.Errorf("the first POST was answered %q, %v", b, err)
	}
	f.session().expect(t, TransportError, "data request overlap from client")
	p.wantGone()
}

func TestPostCutByClose(t *testing.T) {
	f := serve(t, Options{})
	began := f.watchPosts()
	p := f.poll()
	conn := p.beginPost(10)
	<-began
	e := f.session()
	e.s.Abort()
	if b, err := io.ReadAll(conn); len(b) != 0 {
		t.Errorf("the POST was answered %q, %v", b, err)
	}
	e.expect(t, ForcedClose, "nil")
}

func TestPostTooLarge(t *testing.T) {
	f := serve(t, Options{MaxHTTPBufferSize: 1000})
	p := f.poll()
	exact := "4" + strings.Repeat("a", 999)
	p.wantPost(exact, 200, "ok")
	p.wantGet(200, exact)

	// The response arrives before the body has been sent.
	answer := p.park()
	conn := p.beginPost(5000)
	_, _ = io.WriteString(conn, strings.Repeat("a", 1000))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != 413 || response.ContentLength != 0 || !response.Close {
		t.Fatalf("%v, %v", response, err)
	}
	want(t, answer, "200 1")
	f.session().expect(t, TransportError, "payload too large")
	p.wantGone()

	p = f.poll()
	p.wantPost(strings.Repeat("a", 1001), 413, "")
	f.session().expect(t, TransportError, "payload too large")
}

func TestPostInPieces(t *testing.T) {
	f := serve(t, Options{MaxBodyPieces: 10})
	f.server.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = io.NopCloser(iotest.OneByteReader(r.Body))
			next.ServeHTTP(w, r)
		})
	})
	p := f.poll()
	p.wantPost("4123456789", 200, "ok")
	p.wantPost("41234567890", 413, "")
	f.session().expect(t, TransportError, "too many chunks")
}

// TestSlowPost sends a body that never ends, and one that ends in time although it is slow.
func TestSlowPost(t *testing.T) {
	// The client must not be writing when the time is up: it would see the connection close before it has read the answer.
	const pause = 7 * time.Second
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{PingInterval: time.Hour})
		post := func(p *poller, pieces int) (status int, after time.Duration) {
			body, send := io.Pipe()
			go func() {
				defer send.Close()
				for range pieces {
					if _, err := io.WriteString(send, "4"); err != nil {
						return
					}
					time.Sleep(pause)
				}
			}()
			start := time.Now()
			status, _, _, err := f.try("POST", p.query, body)
			if err != nil {
				t.Error(err)
			}
			_ = body.Close()
			return status, time.Since(start)
		}
		p := f.poll()
		e := f.session()
		if status, after := post(p, 2); status != 200 || after != 2*pause {
			t.Errorf("status %d after %v", status, after)
		}
		status, after := post(p, 100)
		if status != 408 || after < 30*time.Second || after > 31*time.Second {
			t.Errorf("status %d after %v", status, after)
		}
		e.expect(t, TransportError, "http request timeout")
		time.Sleep(pause) // until the sender has noticed
	})
}

func TestPostForms(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	big := "4" + strings.Repeat("€", 300000)
	status, body, _, err := f.try("POST", p.query, struct{ io.Reader }{strings.NewReader(big)}) // chunked
	if err != nil || status != 200 || body != "ok" {
		t.Fatalf("%d %q %v", status, body, err)
	}
	p.wantGet(200, big)
	p.wantPost("4\xff\xe2\x82", 200, "ok")
	p.wantGet(200, "4\uFFFD\uFFFD")
	p.wantPost("\xef\xbb\xbf4a", 200, "ok")
	f.session().expect(t, ParseError, "unknown packet type")
}

func TestEmptyMessages(t *testing.T) {
	type message struct {
		data   []byte
		binary bool
	}
	got := make(chan message, 10)
	f := serve(t, Options{OnSession: func(s *Session) Handler {
		e := newEcho(s)
		e.on = func(data []byte, binary bool) bool {
			got <- message{bytes.Clone(data), binary}
			return false
		}
		return e
	}})
	p := f.poll()
	p.wantPost("4\x1eb", 200, "ok")
	s, _ := f.open()
	check := func() {
		t.Helper()
		if m := <-got; m.data != nil || m.binary {
			t.Errorf("%+v", m)
		}
		if m := <-got; m.data == nil || len(m.data) != 0 || !m.binary {
			t.Errorf("%+v", m)
		}
	}
	check()
	s.write("4", "b")
	check()
	s.send(0x2, nil)
	if m := <-got; m.data == nil || !m.binary {
		t.Errorf("%+v", m)
	}
}

func TestSendWithoutPoll(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	e := f.session()
	if e.s.Writable() {
		t.Error("writable without a GET")
	}
	answer := p.park()
	for _, text := range []string{"a", "b", "c"} {
		_ = e.s.Send(transport.TextMessage(text))
	}
	want(t, answer, "200 4a")
	p.wantGet(200, "4b\x1e4c")
	m := transport.NewMessage()
	m.SetText(append(m.Buffer(), "text"...))
	m.SetBinary([]byte{1, 2, 3}, nil)
	_ = e.s.Send(m)
	m.Release()
	p.wantGet(200, "4text\x1ebAQID\x1eb")
}

func TestSlowPoller(t *testing.T) {
	f := serve(t, Options{MaxQueuedBytes: 1000})
	f.poll()
	e := f.session()
	m := transport.TextMessage(strings.Repeat("a", 400))
	if err := e.s.Send(m); err != nil {
		t.Error(err)
	}
	if err := e.s.Send(m); err != nil {
		t.Error(err)
	}
	if err := e.s.Send(m); err != ErrSlowPeer {
		t.Errorf("Send returned %v", err)
	}
	e.expect(t, TransportError, "fast enough")
}

func TestDrainAndRun(t *testing.T) {
	ran, drained := make(chan struct{}), make(chan struct{}, 10)
	f := serve(t, Options{OnSession: func(s *Session) Handler {
		e := newEcho(s)
		e.on = func([]byte, bool) bool { return true }
		e.run = func() { ran <- struct{}{} }
		e.drain = func() { drained <- struct{}{} }
		return e
	}})
	p := f.poll()
	p.wantPost("4a\x1e4b", 200, "ok") // answered although Run blocks
	<-ran
	s, _ := f.open()
	s.write("4a")
	<-ran
	_ = f.server.Session(p.sid).Send(transport.TextMessage("a"))
	p.wantGet(200, "4a")
	<-drained
}

func TestPausedPolling(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	e := f.session()
	e.s.Pause()
	answer := make(chan string, 1)
	post := func() {
		status, body, _, err := f.try("POST", p.query, strings.NewReader("4a"))
		answer <- fmt.Sprint(status, " ", body, errText(err))
	}
	go post()
	p.wantGet(200, "4a") // delivered
	select {
	case got := <-answer:
		t.Errorf("the POST was answered %s", got)
	default:
	}
	e.s.Resume()
	want(t, answer, "200 ok")
	e.s.Pause()
	go post()
	p.wantGet(200, "4a")
	e.s.Abort()
	want(t, answer, "200 ok")
}

// TestClientLeavesHeldPost uses a client that leaves while its POST is held back because the session is paused.
func TestClientLeavesHeldPost(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	e := f.session()
	e.s.Pause()
	conn := p.beginPost(2)
	_, _ = io.WriteString(conn, "a")
	p.wantGet(200, "4a") // handled
	conn.Close()
	e.expect(t, TransportError, "data request connection closed prematurely")
}

func TestHTTP10AndClose(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	request := func(method, body string) string {
		return f.raw(fmt.Sprintf("%s %s%s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", method, path, p.query, len(body), body))
	}
	if got := request("POST", "4a"); !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("%q", got)
	}
	if got := request("GET", ""); !strings.HasSuffix(got, "\r\n\r\n4a") {
		t.Errorf("%q", got)
	}
}

func TestGracefulCloseOverPolling(t *testing.T) {
	message := transport.TextMessage("a")
	t.Run("GET waits", func(t *testing.T) {
		f := serve(t, Options{})
		p := f.poll()
		e := f.session()
		answer := p.park()
		e.s.Close()
		want(t, answer, "200 1")
		p.wantGone()
		e.expect(t, ForcedClose, "nil")
	})
	t.Run("no GET", func(t *testing.T) {
		f := serve(t, Options{})
		p := f.poll()
		e := f.session()
		e.s.Close()
		e.s.Close()
		if e.s.State() != StateClosing || e.s.Send(message) != ErrClosed {
			t.Errorf("state %d", e.s.State())
		}
		p.wantPost("4dropped", 200, "ok")
		p.wantGet(200, "6\x1e1")
		p.wantGone()
		e.expect(t, ForcedClose, "nil")
	})
	t.Run("buffered", func(t *testing.T) {
		f := serve(t, Options{})
		p := f.poll()
		e := f.session()
		_, _ = e.s.Send(message), e.s.Send(message)
		e.s.Close()
		p.wantGet(200, "4a\x1e4a")
		p.wantGet(200, "6\x1e1")
		p.wantGone()
		e.expect(t, ForcedClose, "nil")
	})
	t.Run("GET waits and a message", func(t *testing.T) {
		f := serve(t, Options{})
		p := f.poll()
		e := f.session()
		answer := p.park()
		_ = e.s.Send(message)
		e.s.Close()
		want(t, answer, "200 4a")
		p.wantGet(200, "6\x1e1")
		p.wantGone()
		e.expect(t, ForcedClose, "nil")
	})
	t.Run("client closes meanwhile", func(t *testing.T) {
		f := serve(t, Options{})
		p := f.poll()
		e := f.session()
		e.s.Close()
		p.wantPost("1", 200, "ok")
		p.wantGone()
		e.expect(t, TransportClose, "nil")
	})
	t.Run("discard", func(t *testing.T) {
		f := serve(t, Options{})
		p := f.poll()
		e := f.session()
		_ = e.s.Send(message)
		e.s.Abort()
		p.wantGone()
		e.expect(t, ForcedClose, "nil")
		p = f.poll()
		answer := p.park()
		f.session().s.Abort()
		want(t, answer, "200 1")
		p.wantGone()
	})
}
