package httpserver

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// expire waits until c has a deadline in a state accepted by f, and brings it forward. It returns the remaining
// time.
func (c *conn) expire(t *testing.T, f func() bool) (left time.Duration) {
	t.Helper()
	c.look(t, "there is a deadline in this state", func() bool {
		if !f() || c.due.IsZero() {
			return false
		}
		left = time.Until(c.due)
		c.limitLocked(time.Millisecond)
		return true
	})
	return left
}

func TestHeadTimeout(t *testing.T) {
	for name, before := range map[string]string{"first request": "", "a later one": get("/bytes?1")} {
		t.Run(name, func(t *testing.T) {
			const idle, limit = time.Hour, 10 * time.Minute
			s, dial := newApp().start(t, func(c *Config) { c.IdleTimeout, c.HeadTimeout = idle, limit })
			c := dial()
			if before != "" {
				c.send(before).want("x")
				one(t, s).look(t, "it may be idle", func() bool { return time.Until(one(t, s).due) > limit })
			}
			c.send("GET /sock")
			k := one(t, s)
			if d := k.expire(t, func() bool { return len(k.in) == 9 }); d > limit || d < limit-patience {
				t.Errorf("the time-out is in %s", d)
			}
			c.wantEnd()
		})
	}
}

// A client that connects and sends nothing is closed after the head timeout.
func TestSilentClient(t *testing.T) {
	s, dial := newApp().start(t, func(c *Config) { c.HeadTimeout = 50 * time.Millisecond })
	dial().wantEnd()
	until(t, "the connection is gone", func() bool { return s.own.open.Len() == 0 })
}

// The head timeout does not restart with each byte.
func TestHeadTimeoutIsOne(t *testing.T) {
	s, dial := newApp().start(t, nil)
	c := dial().send("G")
	k := one(t, s)
	has := func(n int) (due time.Time) {
		k.look(t, "it has been read", func() bool {
			due = k.due
			return len(k.in) == n
		})
		return due
	}
	first := has(1)
	c.send("E")
	if again := has(2); again != first {
		t.Errorf("the time-out moves by %s", again.Sub(first))
	}
}

// Idle keep-alive connections close.
func TestIdleTimeout(t *testing.T) {
	const clients = 500
	s, dial := newApp().start(t, func(c *Config) { c.IdleTimeout = 100 * time.Millisecond })
	var all [clients]*client
	for i := range all {
		all[i] = dial().send(get("/bytes?1"))
		all[i].want("x")
	}
	for _, c := range all {
		c.wantEnd()
	}
	until(t, "all connections are gone", func() bool { return s.own.open.Len() == 0 })
}

// A waiting request keeps its connection open for longer than an idle one, even if a timer was set before.
func TestParkedIsNotIdle(t *testing.T) {
	const idle = 100 * time.Millisecond
	a := newApp()
	s, dial := a.start(t, func(c *Config) { c.IdleTimeout = idle })
	c := dial().send(get("/bytes?1"))
	c.want("x")
	c.send(get("/park"))
	p := receive(t, a.parked)
	k := one(t, s)
	k.look(t, "the timer has expired", func() bool { return k.alarm.IsZero() })
	_, _ = io.WriteString(p, "late")
	if err := p.Unpark(); err != nil {
		t.Error(err)
	}
	c.want("late")
	c.wantEnd()
}

// A client that does not read its response is closed.
func TestAnswerTimeout(t *testing.T) {
	s, dial := newApp().start(t, nil)
	c := dial()
	_ = c.SetReadBuffer(64 << 10) // or the kernel might take all of the answer
	c.send(get("/bytes?16777216"))
	k := one(t, s)
	if d := k.expire(t, func() bool { return len(k.out) > 0 }); d > answerTimeout {
		t.Errorf("the time-out is in %s", d)
	}
	until(t, "the connection is gone", func() bool { return s.own.open.Len() == 0 })
	if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error(err)
	}
}

// A body that the handler does not read is discarded, after the response if it is long.
func TestUnwantedBody(t *testing.T) {
	for name, size := range map[string]int{"short": maxDrained, "long": maxDrained + 1} {
		t.Run(name, func(t *testing.T) {
			s, dial := newApp().start(t, nil)
			c := dial().send(fmt.Sprintf("POST /bytes?1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size))
			if name == "short" {
				c.send(strings.Repeat("x", size))
			}
			if res, _ := c.answer(); res.Close != (name == "long") {
				t.Errorf("close: %v", res.Close)
			}
			if name == "short" {
				c.send(get("/bytes?2")).want("xx")
				return
			}
			c.send(strings.Repeat("x", 1000)).wantEnd()
			until(t, "the connection is gone", func() bool { return s.own.open.Len() == 0 })
		})
	}
}

// An exchange is unusable after ServeHTTP has returned.
func TestRequestAfterItsEnd(t *testing.T) {
	a := newApp()
	_, dial := a.start(t, nil)
	c := dial().send(post("/see", "40"))
	c.want("")
	r := receive(t, a.seen)
	receive(t, r.Context().Done())
	c.send(post("/see", "41"))
	if n, err := r.Body.Read(make([]byte, 10)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	c.want("")
}

// A handler that panics or calls runtime.Goexit sends no response.
func TestPanic(t *testing.T) {
	_, dial := newApp().start(t, nil)
	dial().send(get("/panic")).wantEnd()
	dial().send(strings.Replace(get("/panic"), "\r\n\r\n", "\r\nUpgrade: websocket\r\n\r\n", 1)).wantEnd()
}

// Handshakes answered at once reuse a request and a response, but share none of their contents.
func TestHandshakesAreApart(t *testing.T) {
	_, dial := newApp().start(t, nil)
	for i := range 20 {
		res, body := dial().send(fmt.Sprintf("GET /fields?%d HTTP/1.1\r\nHost: h%d\r\nUpgrade: websocket\r\nX-%d: %d\r\n\r\n", i, i, i, i)).answer()
		if want := fmt.Sprintf("map[Upgrade:[websocket] X-%d:[%d]] 0h%d", i, i, i); body != want {
			t.Errorf("the handler saw %s, want %s", body, want)
		}
		if n := len(res.Header); n != 4 || res.Header.Get(fmt.Sprint("X-", i)) != "1" {
			t.Errorf("the client saw %v", res.Header)
		}
	}
}

// Responses to a POST behind a parked GET are sent after the GET's response, but the handler runs at once.
func TestPostBehindParked(t *testing.T) {
	a := newApp()
	s, dial := a.start(t, nil)
	c := dial().send(get("/park") + post("/see?1", "40") + "\r\n" + post("/see?2", "41")[:40])
	p := receive(t, a.parked)
	if r := receive(t, a.seen); r.RequestURI != "/see?1" {
		t.Errorf("got %s", r.RequestURI)
	}
	c.send(post("/see?2", "41")[40:] + post("/echo", "42"))
	if r := receive(t, a.seen); r.RequestURI != "/see?2" {
		t.Errorf("got %s", r.RequestURI)
	}
	k := one(t, s)
	k.look(t, "three answers are held", func() bool { return strings.Count(string(k.held), "HTTP/1.1 200") == 3 })
	_, _ = io.WriteString(p, "event")
	if err := p.Unpark(); err != nil {
		t.Error(err)
	}
	c.want("event")
	c.want("")
	c.want("")
	c.want("42")
	c.send(get("/bytes?1")).want("x")
}

// A response to the GET does not wait for the POST behind it.
func TestParkedAnsweredDuringPost(t *testing.T) {
	a := newApp()
	_, dial := a.start(t, nil)
	whole := post("/echo", "40")
	c := dial().send(get("/park") + whole[:len(whole)-1])
	p := receive(t, a.parked)
	_, _ = io.WriteString(p, "event")
	if err := p.Unpark(); err != nil {
		t.Error(err)
	}
	c.want("event")
	c.send(whole[len(whole)-1:] + get("/park"))
	c.want("40")
	p = receive(t, a.parked)
	_ = p.Unpark()
	c.want("")
}

// All other requests wait behind a parked one.
func TestOthersWaitBehindParked(t *testing.T) {
	for name, behind := range map[string]string{
		"GET":        get("/bytes?3"),
		"not plain":  get("/rest") + "",
		"incomplete": strings.TrimSuffix(get("/bytes?3"), "\r\n"),
		"too large":  "POST /echo HTTP/1.1\r\nX: " + strings.Repeat("x", maxHead),
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp()
			s, dial := a.start(t, nil)
			c := dial().send(get("/park"))
			p := receive(t, a.parked)
			k := one(t, s)
			c.send(behind[:4])
			k.look(t, "its beginning has come", func() bool { return len(k.in) == 4 && !k.due.IsZero() })
			c.send(behind[4:])
			if name != "incomplete" {
				k.look(t, "it waits, for as long as need be", func() bool { return k.barred && k.due.IsZero() })
			}
			_, _ = io.WriteString(p, "event")
			_ = p.Unpark()
			c.want("event")
			switch name {
			case "GET":
				c.want("xxx")
			case "not plain":
				c.want("404 page not found\n")
			case "incomplete":
				c.send("\r\n").want("xxx")
			default:
				if res, _ := c.answer(); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
					t.Error(res.Status)
				}
			}
		})
	}
}

// A client may leave while its request is parked. Its earlier requests are served.
func TestClientOfParkedGoes(t *testing.T) {
	for name, test := range map[string]struct {
		behind string
		leave  func(*net.TCPConn)
	}{
		"closes":                       {"", func(c *net.TCPConn) { c.Close() }},
		"resets":                       {"", func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() }},
		"closes its side":              {"", func(c *net.TCPConn) { _ = c.CloseWrite() }},
		"closes, GET behind":           {get("/bytes?1"), func(c *net.TCPConn) { c.Close() }},
		"closes, part of a GET":        {"GET / HTTP/1.1\r\n", func(c *net.TCPConn) { c.Close() }},
		"closes, part of a POST":       {strings.TrimSuffix(post("/echo", "40"), "0"), func(c *net.TCPConn) { c.Close() }},
		"closes its side, POST behind": {post("/see", "40"), func(c *net.TCPConn) { _ = c.CloseWrite() }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp()
			s, dial := a.start(t, nil)
			c := dial().send(get("/park?" + "x"))
			p := receive(t, a.parked)
			c.send(test.behind)
			test.leave(c.TCPConn)
			if target := receive(t, a.lost); target != "/park?x" {
				t.Errorf("lost %s", target)
			}
			until(t, "the connection is gone", func() bool { return s.own.open.Len() == 0 })
			if strings.Contains(name, "POST behind") && len(a.seen) == 0 {
				t.Error("the POST has not been served")
			}
			if err := p.Unpark(); err == nil {
				t.Error("the answer was sent")
			}
		})
	}
}

// Empty lines before a request are ignored.
func TestEmptyLines(t *testing.T) {
	_, dial := newApp().start(t, nil)
	c := dial().send("\r\n"+get("/bytes?1")).send("\r\n", "\r", "\n")
	c.want("x")
	c.send(post("/echo", "40") + "\r\n\r\n").want("40")
	c.send("\r\n", get("/bytes?2")).want("xx")
	c.send("\r\n", get("/rest")).want("404 page not found\n")
}

// A connection that reuses a descriptor number does not receive the events of the previous one.
func TestDescriptorsAreUsedAgain(t *testing.T) {
	a := newApp()
	s, dial := a.start(t, nil)
	for range 100 {
		first := dial().send(get("/park?first"))
		receive(t, a.parked)
		first.Close()
		second := dial().send(get("/park?second"))
		if target := receive(t, a.lost); target != "/park?first" {
			t.Fatalf("lost %s", target)
		}
		p := receive(t, a.parked)
		_, _ = io.WriteString(p, "event")
		if err := p.Unpark(); err != nil {
			t.Error(err)
		}
		second.want("event")
		second.Close()
		until(t, "the connections are gone", func() bool { return s.own.open.Len() == 0 })
	}
}

// A vanished client is noticed, with or without a parked request.
func TestClientVanishes(t *testing.T) {
	a := newApp()
	s, dial := a.start(t, nil)
	vanish := func(c *client) {
		k := one(t, s)
		k.mu.Lock()
		for _, option := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT} {
			if err := unix.SetsockoptInt(k.socket.fd, unix.IPPROTO_TCP, option, 1); err != nil { // or it would take minutes
				t.Error(err)
			}
		}
		k.mu.Unlock()
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
		_ = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
		})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the connection is gone", func() bool { return s.own.open.Len() == 0 })
	}
	c := dial().send(get("/bytes?1"))
	c.want("x")
	vanish(c)
	c = dial().send(get("/park"))
	receive(t, a.parked)
	vanish(c)
	receive(t, a.lost)
}
