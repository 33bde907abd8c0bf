package epoll

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/transport"
)

// pauser returns a recorder that pauses its connection with each message.
func pauser() *recorder {
	r := newRecorder()
	r.onMessage = func(c transport.Conn, _ []byte) bool {
		c.Pause()
		return false
	}
	return r
}

// dialPaused returns a client and its connection, which has delivered "text first" and is paused.
func dialPaused(t *testing.T, ts *testServer, r *recorder) (*client, *Conn) {
	t.Helper()
	c := ts.dial(t)
	server := <-ts.conns
	c.send(text("first"))
	r.until(t, "it is paused", func() bool { return len(r.log) == 1 })
	return c, server
}

// onSocket calls f with the descriptor of a client.
func onSocket(t *testing.T, conn net.Conn, f func(fd int)) {
	t.Helper()
	raw, err := below(conn).(syscall.Conn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPausedPeerLeaves: the end of the stream ends the pause, and the peer's earlier messages are delivered.
func TestPausedPeerLeaves(t *testing.T) {
	for _, departure := range departures {
		t.Run(departure.name, func(t *testing.T) {
			kinds(t, func(t *testing.T, k kind) {
				r := pauser()
				ts := serve(t, k, func(c *Conn) { c.Start(r) })
				c, server := dialPaused(t, ts, r)
				want := []string{"text first"}
				for i := range 20 {
					message := fmt.Sprint(i, strings.Repeat(" ", 1000))
					c.send(text(message))
					want = append(want, "text "+message)
				}
				if !k.unix {
					eventually(t, "the kernel of the server has everything", func() (yes bool) {
						onSocket(t, c.Conn, func(fd int) {
							n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
							yes = n == 0 && err == nil
						})
						return yes
					})
				}
				if n := len(r.told()); n != 1 || !server.Alive(time.Hour) {
					t.Fatalf("%d messages while paused, alive %v", n, server.Alive(time.Hour))
				}
				departure.do(c)
				if err := r.untilClosed(t); err != nil || !slices.Equal(r.told(), want) {
					t.Errorf("HandleClose(%v) after %.300q", err, r.told())
				}
				if server.Alive(time.Hour) {
					t.Error("alive after its end")
				}
				eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
			})
		})
	}
}

// TestPausedPeerLeavesMore: a peer that leaves while its kernel still holds unsent bytes cannot signal the end of
// the stream, but it rejects the next ping.
func TestPausedPeerLeavesMore(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := pauser()
		ts := serve(t, k, func(c *Conn) { c.Start(r) })
		c, server := dialPaused(t, ts, r)
		piece := frame(true, transport.OpBinary, strings.Repeat("x", 64<<10))
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		for {
			if _, err := c.Write(piece); err != nil {
				break
			}
		}
		below(c.Conn).Close()
		_ = server.SendText("2") // may fail already
		if err := r.untilClosed(t); err != nil || len(r.told()) < 2 {
			t.Errorf("HandleClose(%v) after %d messages", err, len(r.told()))
		}
		eventually(t, "all are closed", func() bool { return ts.Stats().Open == 0 })
	})
}

// TestPausedWriteFails uses connections without a descriptor to wait for: they notice the end when they are written
// to.
func TestPausedWriteFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(&Options{DisableEpoll: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := newStream(s, struct{ net.Conn }{conn})
	s.open.Add(1)
	r := newRecorder()
	c.Pause()
	c.Start(r)
	peer.Write(text("last words"))
	peer.Close()
	if !c.Alive(0) {
		t.Error("not alive before a write has failed")
	}
	eventually(t, "writing fails", func() bool { return c.SendText("lost") == transport.ErrClosed })
	if err := r.untilClosed(t); err != nil || !slices.Equal(r.told(), []string{"text last words"}) {
		t.Errorf("HandleClose(%v) after %q", err, r.told())
	}
}

// TestAlive distinguishes a peer whose program does not read from one whose network is gone. Packets to the latter
// are dropped before they reach its socket.
func TestAlive(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		if k.unix {
			return // there is no network
		}
		r := pauser()
		ts := serve(t, k, func(c *Conn) { c.Start(r) })
		c, server := dialPaused(t, ts, r)
		const within = 200 * time.Millisecond
		time.Sleep(2 * within)
		if server.Alive(within) {
			t.Error("alive, although nothing was sent")
		}
		_ = server.SendText("2")
		eventually(t, "the kernel of the peer has answered", func() bool { return server.Alive(within) })

		drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
		onSocket(t, c.Conn, func(fd int) {
			program := unix.SockFprog{Len: 1, Filter: &drop[0]}
			if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
				t.Error(err)
			}
		})
		_ = server.SendText("2")
		time.Sleep(2 * within)
		if server.Alive(within) {
			t.Error("alive, although its network is gone")
		}
		onSocket(t, c.Conn, func(fd int) {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "the network is back", func() bool { return server.Alive(within) })
	})
}

// TestResumeEndsTheWait pauses and resumes while the reader waits for the end of the stream.
func TestResumeEndsTheWait(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		r := newRecorder()
		ts := serve(t, k, func(c *Conn) { c.Start(r) })
		c := ts.dial(t)
		server := <-ts.conns
		for i := range 100 {
			server.Pause()
			c.send(text("a"))
			if i%2 == 0 {
				time.Sleep(time.Millisecond)
			}
			server.Resume()
			r.until(t, "it is delivered", func() bool { return len(r.log) == i+1 })
		}
		server.Pause()
		c.send(text("b"))
		server.Close(transport.CloseNone)
		c.expect("close")
		c.send(closeFrame(1000, ""))
		c.expect("EOF")
	})
}
