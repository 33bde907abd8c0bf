package adaptertest

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// testRecoveryTraffic moves a client from node to node while all nodes broadcast. The client receives every event once, and
// the events of each node in order.
func testRecoveryTraffic(t *testing.T, c *cluster) {
	const moves, pid, ahead = 20, "secret", 10_000
	s := c.nodes[0].Connect("s")
	stop := make(chan struct{})
	counts, seen := make([]int, len(c.nodes)), make([]atomic.Int64, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if counts[i] > int(seen[i].Load())+ahead {
					time.Sleep(time.Millisecond) // do not let the client fall behind the packets that are kept
					continue
				}
				broadcast(t, n, fmt.Sprintf("%d-%d", i, counts[i]), adapter.Options{})
				counts[i]++
			}
		})
	}
	next := make([]int, len(c.nodes))
	offset := ""
	got := func(text string) {
		name, last := split(text)
		var i, k int
		if _, err := fmt.Sscanf(name, "%d-%d", &i, &k); err != nil || k != next[i] || last == "" {
			t.Errorf("got %q, want %d of node %d", text, next[i], i)
		}
		next[i], offset = k+1, last
		seen[i].Store(int64(k))
	}
	for move := range moves {
		before := offset
		Eventually(t, func() string {
			for _, text := range s.Take() {
				got(text)
			}
			if offset == before {
				return "no event comes"
			}
			return ""
		})
		from := s.node.Adapter
		s.Disconnect(false)
		for _, text := range s.Take() {
			got(text)
		}
		if err := from.PersistSession(&adapter.Session{ID: "s", PID: pid, Rooms: []string{"s"}}); err != nil {
			t.Error(err)
		}
		n := c.nodes[(move+1)%len(c.nodes)]
		// The session may be on its way.
		Eventually(t, func() string {
			r, err := n.resume(t, pid, offset)
			if r == nil {
				return fmt.Sprintf("the session is not restored: %v", err)
			}
			for _, p := range r.missed {
				got(string(p.Data))
			}
			s = r.socket
			return ""
		})
	}
	close(stop)
	wg.Wait()
	Eventually(t, func() string {
		for _, text := range s.Take() {
			got(text)
		}
		if !slices.Equal(next, counts) {
			return fmt.Sprintf("got %d of %d events", next, counts)
		}
		return ""
	})
}

// testRecoveryOneOrder broadcasts from many goroutines: all sockets get the packets in one order, whatever rooms they are
// for.
func testRecoveryOneOrder(t *testing.T, c *cluster) {
	const senders, each = 8, 50
	for i := range c.nodes {
		c.connect(i, fmt.Sprint("s", i), "room")
		c.connect(i, fmt.Sprint("t", i), "room")
	}
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for k := range each {
				var o adapter.Options
				if k%2 == 0 {
					o.Rooms = []string{"room"}
				}
				broadcast(t, c.nodes[i%len(c.nodes)], fmt.Sprintf("%d-%d", i, k), o)
			}
		})
	}
	wg.Wait()
	var first []string
	for i, s := range c.sockets {
		var got []string
		Eventually(t, func() string {
			got = append(got, s.Take()...)
			if len(got) < senders*each {
				return fmt.Sprintf("%s got %d of %d events", s.id, len(got), senders*each)
			}
			return ""
		})
		if i == 0 {
			first = got
		} else if !slices.Equal(got, first) {
			t.Errorf("%s and %s got events in different orders", c.sockets[0].id, s.id)
		}
	}
}

// testRecoveryNestedEmits has functions of the application broadcast that are called because of a broadcast, or of a session
// that is resumed. Nobody may wait for them.
func testRecoveryNestedEmits(t *testing.T, c *cluster) {
	n := c.nodes[0]
	a, b := c.connect(0, "a"), c.connect(0, "b")
	a.Sent = func(text string) {
		if name, _ := split(text); name == "outer" {
			broadcast(t, n, "inner", adapter.Options{})
		}
	}
	broadcast(t, n, "outer", adapter.Options{})
	for _, s := range []*Socket{a, b} {
		s.awaitNames(t, "outer", "inner")
	}
	pid, offset := c.lose(t, b, nil)
	a.Take()
	n.OnRoomEvent = func(e adapter.RoomEvent) { // no socket joins a room at this moment
		if e.Kind == adapter.RoomJoined {
			broadcast(t, n, "joined", adapter.Options{})
		}
	}
	found := c.find(t, 0, pid, offset)
	n.OnRoomEvent = nil
	a.awaitNames(t, "joined")
	found.socket.awaitNames(t, "joined")
}

// awaitNames waits until the socket has been sent events of these names, and no others.
func (s *Socket) awaitNames(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	Eventually(t, func() string {
		for _, text := range s.Take() {
			name, _ := split(text)
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			return fmt.Sprintf("%s got %q, want %q", s.id, got, want)
		}
		return ""
	})
}

// testRecoveryMissedAtOnce broadcasts while a client is sent the packets that it has missed. There may be many, so
// broadcasts do not wait for them.
func testRecoveryMissedAtOnce(t *testing.T, c *cluster) {
	n := c.nodes[0]
	witness := c.connect(0, "witness")
	pid, offset := c.lose(t, c.connect(0, "s"), nil)
	for i := range 3 {
		broadcast(t, n, fmt.Sprint("missed", i), adapter.Options{})
	}
	var all iter.Seq[*parser.Packet]
	s := n.NewSocket("s")
	Eventually(t, func() string {
		found, err := n.Adapter.RestoreSession(patient(t), pid, offset)
		if found == nil {
			return fmt.Sprintf("the session is not found: %v", err)
		}
		if ok, err := found.Resume(patient(t), s, func(missed iter.Seq[*parser.Packet]) bool {
			all = missed
			return !s.connected.Swap(true)
		}); !ok {
			t.Fatalf("not resumed: %v", err)
		}
		return ""
	})
	witness.Take()
	var names []string
	for p := range all {
		name, _ := split(string(p.Data))
		broadcast(t, n, "after "+name, adapter.Options{})
		names = append(names, name)
	}
	want := []string{"missed0", "missed1", "missed2"}
	equal(t, "missed", names, want)
	for i, name := range want {
		want[i] = "after " + name
	}
	s.awaitNames(t, want...)
	witness.awaitNames(t, want...)
	if strings.Contains(strings.Join(s.Take(), ""), "missed") {
		t.Error("what was missed is sent twice")
	}
}
