package epoll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/transport"
)

// maxConn is the maximum size of a Conn: an idle connection holds little else.
const maxConn = 80

func TestConnIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n > maxConn {
		t.Errorf("a Conn has %d bytes, more than %d", n, maxConn)
	}
}

func TestEcho(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		ts := serve(t, k, echo)
		c := ts.dial(t)
		c.send(text("2probe"))
		c.expect("text 2probe")
		c.send(frame(true, transport.OpBinary, "\x00\xff"))
		c.expect("binary \x00\xff")
		long := strings.Repeat("x", 900_000)
		c.send(text(long))
		c.expect("text " + long)
		c.send(closeFrame(1000, "bye"))
		c.expect("close 1000bye", "EOF")
		eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
	})
}

func TestScriptByteByByte(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		ts := serve(t, k, echo)
		c := ts.dial(t)
		input := slices.Concat(
			text("a"),
			frame(false, transport.OpText, "fr"), frame(true, transport.OpPing, "inside"),
			frame(false, transport.OpContinuation, "ag"), frame(true, transport.OpContinuation, "ment"),
			frame(true, transport.OpBinary, strings.Repeat("b", 200)),
			closeFrame(4000, "end"))
		for i := range input {
			c.send(input[i : i+1])
		}
		c.expect("text a", "pong inside", "text fragment", "binary "+strings.Repeat("b", 200), "close 4000end", "EOF")
	})
}

func TestManyFramesInOneWrite(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		ts := serve(t, k, echo)
		c := ts.dial(t)
		var input []byte
		var want []string
		for i := range 3000 {
			s := fmt.Sprint("message ", i)
			input = append(input, text(s)...)
			want = append(want, "text "+s)
		}
		go c.Write(input)
		c.expect(want...)
	})
}

func TestViolations(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := make(chan *recorder, 1)
		ts := serve(t, k, func(c *Conn) {
			rec := newRecorder()
			c.Start(rec)
			r <- rec
		})
		for _, v := range violations {
			t.Run(v.name, func(t *testing.T) {
				c := ts.dial(t)
				// Further bytes must not turn the close frame into a reset.
				go c.Write(append(v.input, text(strings.Repeat("ignored", 20_000))...))
				c.expect(fmt.Sprint("close ", v.code), "EOF")
				c.Close()
				var violation *transport.ProtocolError
				if err := (<-r).untilClosed(t); !errors.As(err, &violation) || violation.Code != v.code {
					t.Errorf("HandleClose(%v), want a ProtocolError with code %d", err, v.code)
				}
			})
		}
		eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
		if n := ts.Stats().ProtocolErrors; n != uint64(len(violations)) {
			t.Errorf("%d protocol errors are counted, want %d", n, len(violations))
		}
	})
}

func TestRunFollowsMessages(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		r.onMessage = func(_ transport.Conn, data []byte) bool { return string(data) == "b" }
		ts := serve(t, k, func(c *Conn) { c.Start(r) })
		c := ts.dial(t)
		c.send(slices.Concat(text("a"), text("b"), text("c")))
		r.until(t, "run", func() bool { return len(r.log) == 4 })
		c.send(text("d"))
		c.send(closeFrame(1000, ""))
		if err := r.untilClosed(t); err != nil {
			t.Errorf("HandleClose(%v)", err)
		}
		if want := []string{"text a", "text b", "text c", "run", "text d"}; !slices.Equal(r.told(), want) {
			t.Errorf("log %q, want %q", r.log, want)
		}
	})
}

// TestRunBeforeClose sends a message and the end of the connection at once.
func TestRunBeforeClose(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		for _, end := range []struct {
			name string
			send func(c *client)
		}{
			{"close frame", func(c *client) { c.send(append(text("a"), closeFrame(1001, "")...)) }},
			{"EOF", func(c *client) { c.send(text("a")); c.Close() }},
			{"violation", func(c *client) { c.send(append(text("a"), 0xFF, 0xFF)) }},
		} {
			ran := make(chan struct{})
			r := newRecorder()
			r.onMessage = func(transport.Conn, []byte) bool { return true }
			r.onRun = func(transport.Conn) { close(ran) }
			ts := serve(t, k, func(c *Conn) { c.Start(r) })
			end.send(ts.dial(t))
			r.untilClosed(t)
			select {
			case <-ran:
			case <-time.After(patience):
				t.Errorf("%s: no Run", end.name)
			}
		}
	})
}

// TestEarlyData sends frames in one write with the handshake.
func TestEarlyData(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		for _, split := range []int{1, 5, 100, 3000, 5000, 100_000} {
			r := newRecorder()
			ran := make(chan struct{}, 1000)
			r.onMessage = func(transport.Conn, []byte) bool { return true }
			r.onRun = func(transport.Conn) { ran <- struct{}{} }
			ts := serve(t, k, func(c *Conn) {
				c.SendText("open")
				c.Start(r)
			})
			var input []byte
			for i := range 1000 {
				input = append(input, text(fmt.Sprint("message ", i))...)
			}
			split = min(split, len(input))
			c := ts.dial(t, input[:split]...)
			c.expect("text open")
			if split > 100 {
				r.until(t, "the first message", func() bool { return len(r.log) > 0 })
				<-ran
			}
			c.send(input[split:])
			c.send(closeFrame(1000, ""))
			r.untilClosed(t)
			log := r.messages()
			if len(log) != 1000 || log[999] != "text message 999" {
				t.Errorf("split %d: %d messages", split, len(log))
			}
		}
	})
}

func TestSetHandler(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		second := newRecorder()
		first := newRecorder()
		first.onMessage = func(c transport.Conn, data []byte) bool {
			if string(data) == "5" {
				c.(*Conn).SetHandler(second)
				return true
			}
			return false
		}
		ts := serve(t, k, func(c *Conn) { c.Start(first) })
		c := ts.dial(t)
		c.send(slices.Concat(text("2probe"), text("5"), text("4a")))
		second.until(t, "Run", func() bool { return slices.Contains(second.log, "run") })
		c.Close()
		second.untilClosed(t)
		if want := []string{"text 4a", "run"}; !slices.Equal(second.told(), want) {
			t.Errorf("second handler was told %q, want %q", second.log, want)
		}
		if want := []string{"text 2probe", "text 5"}; !slices.Equal(first.told(), want) || first.closed != 0 {
			t.Errorf("first handler was told %q, want %q; closed %d", first.log, want, first.closed)
		}
	})
}

// TestPartialWrites sends more than the kernel accepts and reads it slowly.
func TestPartialWrites(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		conns := make(chan *Conn, 1)
		ts := serve(t, k, func(c *Conn) { c.Start(r); conns <- c })
		c := ts.dial(t)
		server := <-conns
		shared := transport.TextMessage(strings.Repeat("s", 3000))
		small := transport.TextMessage("small")
		own := strings.Repeat("o", 30_000)
		const rounds = 1000
		for i := range rounds {
			if err := server.Send(shared); err != nil {
				t.Fatal(err)
			}
			m := transport.NewMessage()
			m.SetText(append(m.Buffer(), own...))
			m.SetBinary([]byte{byte(i)}, []byte("second"))
			server.Send(m)
			m.Release()
			server.Send(small)
			server.SendText(fmt.Sprint(i))
		}
		if server.Writable() {
			t.Error("Writable although the peer does not read")
		}
		for i := range rounds {
			c.expect("text 4"+strings.Repeat("s", 3000), "text 4"+own, "binary "+string([]byte{byte(i)}), "binary second",
				"text 4small", fmt.Sprint("text ", i))
		}
		r.until(t, "drained", func() bool { return r.drains > 0 && server.Writable() })
		c.Close()
		if err := r.untilClosed(t); err != nil {
			t.Errorf("HandleClose(%v)", err)
		}
	})
}

func TestSlowPeer(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.options.MaxQueuedBytes = 1 << 20
		k.options.Loops = 1
		r := newRecorder()
		conns := make(chan *Conn, 1)
		ts := serve(t, k, func(c *Conn) {
			select {
			case conns <- c:
				c.Start(r)
			default:
				echo(c)
			}
		})
		slow := ts.dial(t)
		other := ts.dial(t)
		server := <-conns
		m := transport.TextMessage(strings.Repeat("x", 10_000))
		var err error
		for range 10_000 {
			if err = server.Send(m); err != nil {
				break
			}
			// Another connection is not held up.
			other.send(text("ping"))
			other.expect("text ping")
		}
		if err != transport.ErrSlowPeer {
			t.Fatalf("Send: %v, want ErrSlowPeer", err)
		}
		if err := server.Send(m); err != transport.ErrClosed {
			t.Errorf("Send after that: %v, want ErrClosed", err)
		}
		if err := r.untilClosed(t); err != transport.ErrSlowPeer {
			t.Errorf("HandleClose(%v), want ErrSlowPeer", err)
		}
		if n := ts.Stats().SlowPeers; n != 1 {
			t.Errorf("%d slow peers are counted", n)
		}
		slow.Close()
		eventually(t, "one is left", func() bool { return ts.Stats().Open == 1 })
	})
}

// TestBlockedRun blocks handlers of one loop: other connections are still served.
func TestBlockedRun(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.options.Loops = 1
		release := make(chan struct{})
		var blocked, returned atomic.Int32
		handler := func() *recorder {
			r := newRecorder()
			r.onMessage = func(_ transport.Conn, data []byte) bool { return true }
			r.onRun = func(c transport.Conn) {
				if last := r.messages(); last[len(last)-1] == "text block" {
					blocked.Add(1)
					<-release
					returned.Add(1)
				}
				c.SendText("done")
			}
			return r
		}
		ts := serve(t, k, func(c *Conn) { c.Start(handler()) })
		quick := ts.dial(t)
		const n = 200
		for range n {
			ts.dial(t).send(text("block"))
		}
		eventually(t, "all are blocked", func() bool { return blocked.Load() == n })
		quick.send(text("quick"))
		quick.expect("text done")
		if onEpoll(k) && ts.Stats().Takeovers == 0 {
			t.Error("no loop was taken over")
		}
		close(release)
		eventually(t, "all have returned", func() bool { return returned.Load() == n })
		for range 100 {
			quick.send(text("quick"))
			quick.expect("text done")
		}
	})
}

// TestReadingGoesOnDuringRun sends messages to a connection whose Run blocks.
func TestReadingGoesOnDuringRun(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		release := make(chan struct{})
		r := newRecorder()
		r.onMessage = func(_ transport.Conn, data []byte) bool { return string(data) == "block" }
		r.onRun = func(transport.Conn) { <-release }
		ts := serve(t, k, func(c *Conn) { c.Start(r) })
		c := ts.dial(t)
		c.send(text("block"))
		r.until(t, "Run", func() bool { return len(r.log) == 2 })
		c.send(text("more"))
		r.until(t, "more", func() bool { return len(r.log) == 3 })
		c.Close()
		r.untilClosed(t)
		close(release)
	})
}

// TestDescriptorsAreNotMixedUp opens and closes connections while the server writes to all of them, so that the
// kernel constantly reuses descriptors. Each connection may only receive its own number.
func TestDescriptorsAreNotMixedUp(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		var live sync.Map // *Conn → number
		var number atomic.Int64
		ts := serve(t, k, func(c *Conn) {
			n := fmt.Sprint(number.Add(1))
			c.SendText(n)
			r := newRecorder()
			r.onMessage = func(c transport.Conn, data []byte) bool {
				if string(data) != n {
					t.Errorf("connection %s received %q", n, data)
				}
				return false
			}
			live.Store(c, n)
			c.Start(r)
		})
		stop := make(chan struct{})
		var writers, clients sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					live.Range(func(key, n any) bool {
						c := key.(*Conn)
						switch rand.IntN(50) {
						case 0:
							c.Abort()
						case 1:
							c.Close(transport.CloseNone)
						default:
							if c.SendText(n.(string)) == nil {
								return true
							}
						}
						live.Delete(c)
						return true
					})
					time.Sleep(100 * time.Microsecond)
				}
			})
		}
		for range 4 {
			clients.Go(func() {
				for range 75 {
					conn := ts.dialRaw(t)
					c := &client{t: t, Conn: conn}
					io.WriteString(conn, handshake)
					b := make([]byte, 0, 4096)
					for !bytes.Contains(b, []byte("\r\n\r\n")) {
						n, err := conn.Read(b[len(b):cap(b)])
						if b = b[:len(b)+n]; err != nil {
							break
						}
					}
					_, rest, _ := bytes.Cut(b, []byte("\r\n\r\n"))
					reader := io.MultiReader(bytes.NewReader(rest), conn)
					own := ""
					for range 1 + rand.IntN(20) {
						f, err := readFrame(reader)
						if err != nil || f.Header.OpCode != ws.OpText {
							break
						}
						if own == "" {
							own = string(f.Payload)
						}
						if string(f.Payload) != own {
							t.Errorf("peer of connection %s received %q", own, f.Payload)
						}
						c.Write(text(own))
					}
					conn.Close()
				}
			})
		}
		clients.Wait()
		close(stop)
		writers.Wait()
		eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
	})
}

func TestConcurrentSendsKeepFramesWhole(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		conns := make(chan *Conn, 1)
		ts := serve(t, k, func(c *Conn) { echo(c); conns <- c })
		c := ts.dial(t)
		server := <-conns
		const senders, each = 4, 500
		shared := transport.TextMessage(strings.Repeat("0", 2000))
		var group sync.WaitGroup
		for i := range senders {
			group.Go(func() {
				for j := range each {
					if j%2 == 0 {
						server.Send(shared)
					} else {
						server.SendText(fmt.Sprint(i, " ", j, strings.Repeat(" ", 2000)))
					}
				}
			})
		}
		last := make([]int, senders)
		for range senders * each {
			var i, j int
			s := c.next()
			if s == "text 4"+strings.Repeat("0", 2000) {
				continue
			}
			if _, err := fmt.Sscanf(s, "text %d %d", &i, &j); err != nil || len(s) < 2000 {
				t.Fatalf("received %.50q", s)
			}
			if j < last[i] {
				t.Errorf("sender %d: %d after %d", i, j, last[i])
			}
			last[i] = j
		}
		group.Wait()
	})
}

func TestOptions(t *testing.T) {
	for _, bad := range []Options{{Loops: -1}, {MaxMessageBytes: -1}, {MaxQueuedBytes: -1}, {CloseTimeout: -1}} {
		if _, err := NewServer(&bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	s, err := NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
