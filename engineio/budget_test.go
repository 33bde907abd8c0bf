package engineio

import (
	"net"
	"strings"
	"testing"
)

// TestQueuedTotal uses clients that do not read, and some that do. Those with the longest queues are disconnected, and the
// total stays within the limit.
func TestQueuedTotal(t *testing.T) {
	const (
		total   = 4 << 20
		message = 16 << 10
		slow    = 40
	)
	for _, transports := range []string{Polling, WebSocket, "both"} {
		for _, epoll := range []bool{true, false} {
			t.Run(transports+map[bool]string{true: "", false: ", goroutines"}[epoll], func(t *testing.T) {
				t.Parallel()
				f := serve(t, Options{MaxQueuedBytesTotal: total, MaxQueuedBytes: 1 << 30, DisableEpoll: !epoll})
				var sockets []*socket
				open := func(i int) (client, *echo) {
					var c client
					if transports == Polling || transports == "both" && i%2 == 0 {
						c = &pollingClient{poller: f.poll()}
					} else {
						s, _ := f.open()
						smallBuffers(t, s)
						sockets = append(sockets, s)
						c = socketClient{s}
					}
					return c, f.session()
				}
				var quiet, stalled []*echo
				var readers []client
				for i := range 4 {
					c, e := open(i)
					readers, quiet = append(readers, c), append(quiet, e)
				}
				for i := range slow {
					_, e := open(i)
					stalled = append(stalled, e)
				}
				text := strings.Repeat("a", message)
				var most int64
				// The kernel accepts the first megabytes.
				for sent, gone := 0, 0; gone < slow/2; sent += message {
					if sent > 64<<20 {
						t.Fatalf("%d bytes sent to each, %d waiting, %d clients dropped", sent, f.server.Stats().QueuedBytes, gone)
					}
					gone = 0
					for _, e := range stalled {
						if e.s.SendText(text) != nil { // a copy for each
							gone++
						}
					}
					most = max(most, f.server.Stats().QueuedBytes)
					for i, e := range quiet {
						if err := e.s.SendText("for you"); err != nil {
							t.Fatalf("a client that reads is gone: %v", err)
						}
						if got := readers[i].receive(); got != "4for you" {
							t.Fatalf("%q", got)
						}
					}
					eventually(t, "the total is within the limit", func() bool { return f.server.Stats().QueuedBytes <= total })
				}
				if most < total/4 {
					t.Errorf("at most %d bytes were counted", most)
				}
				for _, e := range stalled {
					if e.s.State() == StateClosed {
						e.expect(t, TransportError, "fast enough")
					}
				}
				for _, e := range append(stalled, quiet...) {
					e.s.Abort()
				}
				for _, s := range sockets {
					_ = s.conn.Close()
				}
				eventually(t, "nothing is counted", func() bool { return f.server.Stats().QueuedBytes == 0 })
			})
		}
	}
}

// TestQueuedTotalOfClosing uses clients that do not even read the close frame. Their connections hold bytes after their
// sessions have ended.
func TestQueuedTotalOfClosing(t *testing.T) {
	const total = 4 << 20
	f := serve(t, Options{MaxQueuedBytesTotal: total, MaxQueuedBytes: 4 * total})
	for range 4 {
		s, _ := f.open()
		smallBuffers(t, s)
		e := f.session()
		for e.s.conn.Queued() < total/2 {
			if err := e.s.SendText(strings.Repeat("a", 64<<10)); err != nil {
				t.Fatal(err)
			}
		}
		e.s.Close()
		e.expect(t, ForcedClose, "nil")
	}
	eventually(t, "connections have been dropped", func() bool { return f.server.Stats().WebSocket.SlowPeers > 0 })
	eventually(t, "the total is within the limit", func() bool { return f.server.Stats().QueuedBytes <= total })
}

func TestQueuedTotalDefault(t *testing.T) {
	n := defaultQueuedTotal()
	if n < 16<<20 || n > 1<<40 {
		t.Errorf("%d bytes", n)
	}
	o, err := (&Options{OnSession: func(*Session) Handler { return nil }}).withDefaults()
	if err != nil || o.MaxQueuedBytesTotal != n {
		t.Errorf("%v, %v", o, err)
	}
	none, err := NewServer(&Options{OnSession: func(*Session) Handler { return nil }, MaxQueuedBytesTotal: -1})
	if err != nil || none.budget != nil {
		t.Errorf("a negative limit: %v, %v", none.budget, err)
	}
	_ = none.Close()
}

// smallBuffers makes the kernel of a client take little.
func smallBuffers(t *testing.T, s *socket) {
	if err := s.conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
}
