package epoll

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

func TestCloseHandshake(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		for _, code := range []int{transport.CloseNone, transport.CloseGoingAway} {
			r := newRecorder()
			conns := make(chan *Conn, 1)
			ts := serve(t, k, func(c *Conn) { c.Start(r); conns <- c })
			c := ts.dial(t)
			server := <-conns
			server.SendText("last")
			server.Close(code)
			server.Close(code)
			if err := server.SendText("too late"); err != transport.ErrClosed {
				t.Errorf("Send after Close: %v", err)
			}
			// The handler is notified at once, although the peer has not answered.
			if err := r.untilClosed(t); err != nil {
				t.Errorf("HandleClose(%v)", err)
			}
			want := "close"
			if code != 0 {
				want = fmt.Sprint("close ", code)
			}
			c.expect("text last", want)
			c.send(slices.Concat(text("ignored"), frame(false, transport.OpText, "ignored"), frame(true, transport.OpPing, "")))
			if n := ts.Stats().Open; n != 1 {
				t.Errorf("%d connections are open", n)
			}
			c.send(frame(true, transport.OpClose, ""))
			c.expect("EOF")
			if len(r.told()) != 0 {
				t.Errorf("handler was told %q after Close", r.told())
			}
			eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
		}
	})
}

// TestCloseSendsTheQueue closes a connection with a long queue.
func TestCloseSendsTheQueue(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		ts := serve(t, k, func(c *Conn) {
			c.Start(echoHandler{})
			m := transport.TextMessage(strings.Repeat("x", 100_000))
			for range 200 {
				c.Send(m)
			}
			c.Close(transport.CloseNormal)
		})
		c := ts.dial(t)
		for range 200 {
			c.expect("text 4" + strings.Repeat("x", 100_000))
		}
		c.expect("close 1000")
		c.send(closeFrame(1000, ""))
		c.expect("EOF")
	})
}

func TestCloseTimeout(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.options.CloseTimeout = 50 * time.Millisecond
		conns := make(chan *Conn, 10)
		ts := serve(t, k, func(c *Conn) { echo(c); conns <- c })
		silent := ts.dial(t)
		(<-conns).Close(transport.CloseNone)
		silent.expectEnd("close")

		// A violation is answered by a half-closed connection, which has the same limit.
		rude := ts.dial(t)
		rude.send([]byte{0xFF, 0xFF})
		rude.expectEnd("close 1002")
		eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
	})
}

// expectEnd expects a close frame and the end. The frame may be missing if it could not be written within
// CloseTimeout: the writer of a goroutine connection may be too late on a busy machine.
func (c *client) expectEnd(frame string) {
	c.t.Helper()
	got := c.next()
	if got == frame {
		got = c.next()
	}
	if got != "EOF" {
		c.t.Fatalf("received %.100q, want %q and the end", got, frame)
	}
}

func TestCloseBeforeStart(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		started := make(chan struct{}, 10)
		ts := serve(t, k, func(c *Conn) {
			c.Close(transport.CloseNone)
			c.Start(r)
			started <- struct{}{}
		})
		c := ts.dial(t, text("early")...)
		c.expect("close")
		c.send(closeFrame(1000, ""))
		c.expect("EOF")
		if err := r.untilClosed(t); err != nil || len(r.told()) != 0 {
			t.Errorf("HandleClose(%v) after %q", err, r.told())
		}
		eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
	})
}

func TestAbort(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		for _, before := range []bool{true, false} {
			r := newRecorder()
			ts := serve(t, k, func(c *Conn) {
				if before {
					c.Abort()
				}
				c.Start(r)
				c.Abort()
			})
			conn := ts.dialRaw(t)
			io.WriteString(conn, handshake)
			io.Copy(io.Discard, conn)
			if err := r.untilClosed(t); err != nil {
				t.Errorf("HandleClose(%v)", err)
			}
			eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
		}
	})
}

// departures are the ways to end a connection without a close frame.
var departures = []struct {
	name string
	do   func(c *client)
}{
	{"end", func(c *client) { c.Close() }},
	{"reset", func(c *client) {
		if tcp, ok := below(c.Conn).(*net.TCPConn); ok {
			tcp.SetLinger(0)
			c.Conn = tcp // or TLS would say goodbye
		}
		c.Close()
	}},
	{"half closed", func(c *client) {
		for _, conn := range []net.Conn{c.Conn, below(c.Conn)} { // TLS sends close_notify, but leaves TCP open
			if half, ok := conn.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
			}
		}
		c.expect("EOF")
	}},
	{"inside a frame", func(c *client) { c.send(text("long enough")[:9]); c.Close() }},
}

// TestPeerVanishes ends the TCP connection without a close frame.
func TestPeerVanishes(t *testing.T) {
	for _, departure := range departures {
		t.Run(departure.name, func(t *testing.T) {
			kinds(t, func(t *testing.T, k kind) {
				r := newRecorder()
				ts := serve(t, k, func(c *Conn) { c.Start(r) })
				c := ts.dial(t)
				c.send(text("hello"))
				r.until(t, "hello", func() bool { return len(r.log) == 1 })
				departure.do(c)
				if err := r.untilClosed(t); err != nil {
					t.Errorf("HandleClose(%v), want nil", err)
				}
				eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
			})
		})
	}
}

// TestLastWords: the messages of a peer that has left are delivered, even if writing to it has failed.
func TestLastWords(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		conns := make(chan *Conn, 1)
		release := make(chan struct{})
		r.onMessage = func(c transport.Conn, data []byte) bool {
			if string(data) == "wait" {
				<-release // holds the reader, which a real handler must not do
			}
			return false
		}
		ts := serve(t, k, func(c *Conn) { c.Start(r); conns <- c })
		c := ts.dial(t)
		server := <-conns
		c.send(text("wait"))
		r.until(t, "the reader waits", func() bool { return len(r.log) == 1 })
		c.send(text("last words"))
		c.Close()
		eventually(t, "writing fails", func() bool { return server.SendText("lost") == transport.ErrClosed })
		close(release)
		if err := r.untilClosed(t); err != nil {
			t.Errorf("HandleClose(%v), want nil", err)
		}
		if !slices.Equal(r.told(), []string{"text wait", "text last words"}) {
			t.Errorf("log %q", r.log)
		}
	})
}

func TestServerShutdown(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		var handlers []*recorder
		var mu sync.Mutex
		ts := serve(t, k, func(c *Conn) {
			mu.Lock()
			defer mu.Unlock()
			handlers = append(handlers, newRecorder())
			c.Start(handlers[len(handlers)-1])
		})
		var clients []*client
		for range 20 {
			clients = append(clients, ts.dial(t))
		}
		late := ts.dialRaw(t)
		ctx, cancel := context.WithCancel(context.Background())
		closed := make(chan error)
		go func() { closed <- ts.Shutdown(ctx) }()
		for i, c := range clients {
			c.expect("close 1001")
			if i > 0 {
				c.send(closeFrame(1001, ""))
				c.expect("EOF")
			}
		}
		io.WriteString(late, handshake)
		answer, _ := io.ReadAll(late)
		if want := "HTTP/1.1 503 Service Unavailable\r\n"; !strings.HasPrefix(string(answer), want) {
			t.Errorf("answer to a late handshake is %q, want %q", answer, want)
		}
		eventually(t, "one is left", func() bool { return ts.Stats().Open == 1 })
		cancel() // the first client has not answered
		if err := <-closed; err != context.Canceled {
			t.Errorf("Shutdown: %v", err)
		}
		clients[0].expect("EOF")
		for _, r := range handlers {
			if err := r.untilClosed(t); err != nil {
				t.Errorf("HandleClose(%v)", err)
			}
		}
		if n := ts.Stats().Open; n != 0 {
			t.Errorf("%d connections are open", n)
		}
		if err := ts.Shutdown(context.Background()); err != nil {
			t.Errorf("second Shutdown: %v", err)
		}
	})
}

// TestStartAfterServerClose starts and closes connections that were upgraded before the server closed.
func TestStartAfterServerClose(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		upgraded := make(chan *Conn, 2)
		ts := serve(t, k, func(c *Conn) { upgraded <- c })
		for range 2 {
			io.WriteString(ts.dialRaw(t), handshake)
		}
		a, b := <-upgraded, <-upgraded
		ts.Close()
		r := newRecorder()
		a.Start(r)
		b.Close(transport.CloseNone)
		r.untilClosed(t)
		eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
	})
}

func TestServerShutdownInRun(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.options.Loops = 1
		done := make(chan struct{})
		var ts *testServer
		r := newRecorder()
		r.onMessage = func(transport.Conn, []byte) bool { return true }
		r.onRun = func(transport.Conn) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			ts.Shutdown(ctx)
			close(done)
		}
		ts = serve(t, k, func(c *Conn) { c.Start(r) })
		ts.dial(t).send(text("close"))
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("Shutdown does not return")
		}
	})
}
