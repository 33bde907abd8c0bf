package socketio

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const keptPatience = 30 * time.Second

// serveKept serves on a port of its own and returns the keeper and a function that connects.
func serveKept(t *testing.T, o *Options) (*keeper, func() net.Conn) {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	server := NewServer(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(keptPatience))
		return c
	}
	var k *keeper
	until(t, "the server listens", func() bool {
		server.listeners.mu.Lock()
		defer server.listeners.mu.Unlock()
		for h := range server.listeners.open {
			k = h.(*ownServer).keeper
		}
		return k != nil
	})
	return k, dial
}

// until waits for a condition.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(keptPatience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain: ", what)
		}
	}
}

// soon waits for a connection of k in this state and brings its end forward. It returns how far that was away.
func soon(t *testing.T, k *keeper, s keptState) time.Duration {
	t.Helper()
	var left time.Duration
	until(t, "a connection is in this state", func() bool {
		for _, c := range k.all() {
			c.mu.Lock()
			left = time.Until(c.due)
			found := c.state == s && !c.due.IsZero()
			if found {
				c.limitLocked(time.Millisecond)
			}
			c.mu.Unlock()
			if found {
				return true
			}
		}
		return false
	})
	return left
}

func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("the connection is not closed")
	}
}

const openRequest = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n"

func readOpen(t *testing.T, c net.Conn) (sid string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), `"sid":"`)
	sid, _, _ = strings.Cut(rest, `"`)
	return sid
}

func TestHeadTimeout(t *testing.T) {
	for name, before := range map[string]string{"first request": "", "a later one": openRequest} {
		t.Run(name, func(t *testing.T) {
			k, dial := serveKept(t, new(Options))
			c := dial()
			if before != "" {
				fmt.Fprint(c, before)
				readOpen(t, c)
				kept := k.all()[0]
				kept.mu.Lock()
				if !kept.due.IsZero() {
					t.Error("a connection without a request has a time-out")
				}
				kept.mu.Unlock()
			}
			fmt.Fprint(c, "GET /sock")
			if d := soon(t, k, reading); d > handshakeTimeout {
				t.Errorf("the time-out is in %s", d)
			}
			wantClosed(t, c)
		})
	}
}

// The time for a head does not begin anew with each byte of it.
func TestHeadTimeoutIsOne(t *testing.T) {
	k, dial := serveKept(t, new(Options))
	c := dial()
	fmt.Fprint(c, "G")
	until(t, "the connection is there", func() bool { return len(k.all()) == 1 })
	kept := k.all()[0]
	has := func(n int) (due time.Time) {
		until(t, "it has been read", func() bool {
			kept.mu.Lock()
			defer kept.mu.Unlock()
			due = kept.due
			return len(kept.in) == n
		})
		return due
	}
	first := has(1)
	fmt.Fprint(c, "E")
	if again := has(2); again != first {
		t.Errorf("the time-out moves by %s", again.Sub(first))
	}
}

// A client that does not take its answer is given up.
func TestAnswerTimeout(t *testing.T) {
	k, dial := serveKept(t, &Options{HTTPCompression: HTTPCompression{Disabled: true}})
	c := dial()
	_ = c.(*net.TCPConn).SetReadBuffer(64 << 10) // or the kernel might take all of the answer
	fmt.Fprint(c, openRequest)
	sid := readOpen(t, c)
	fmt.Fprintf(c, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n40", sid)
	readOpen(t, c)
	poll := fmt.Sprintf("GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: a\r\n\r\n", sid)
	fmt.Fprint(c, poll)
	readOpen(t, c)
	fmt.Fprint(c, poll)
	until(t, "the poll waits", k.server.engine.Session(sid).Writable)
	if err := k.server.Emit("x", strings.Repeat("x", 16<<20)); err != nil {
		t.Fatal(err)
	}
	if d := soon(t, k, writing); d > answerTimeout {
		t.Errorf("the time-out is in %s", d)
	}
	until(t, "the connection is gone", func() bool { return len(k.all()) == 0 })
	wantClosed(t, c)
}

// A body that nobody wants is thrown away: after the answer if it is long.
func TestUnwantedBody(t *testing.T) {
	for name, size := range map[string]int{"short": maxDrained, "long": maxDrained + 1} {
		t.Run(name, func(t *testing.T) {
			k, dial := serveKept(t, new(Options))
			c := dial()
			fmt.Fprintf(c, "POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size)
			if name == "short" {
				fmt.Fprint(c, strings.Repeat("x", size))
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != http.StatusBadRequest || res.Close != (name == "long") {
				t.Errorf("%s, close: %v", res.Status, res.Close)
			}
			if name == "short" {
				fmt.Fprint(c, openRequest)
				readOpen(t, c)
				return
			}
			fmt.Fprint(c, strings.Repeat("x", 1000))
			wantClosed(t, c)
			until(t, "the connection is gone", func() bool { return len(k.all()) == 0 })
		})
	}
}

// What ServeHTTP leaves behind is of no use afterwards.
func TestRequestAfterItsEnd(t *testing.T) {
	requests := make(chan *http.Request, 1)
	_, dial := serveKept(t, &Options{AllowRequest: func(r *http.Request) error {
		requests <- r
		return nil
	}})
	c := dial()
	fmt.Fprint(c, openRequest)
	readOpen(t, c)
	r := <-requests
	<-r.Context().Done()
	fmt.Fprint(c, "POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n40")
	readOpen(t, c)
	if n, err := r.Body.Read(make([]byte, 10)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
