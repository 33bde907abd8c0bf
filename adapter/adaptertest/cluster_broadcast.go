package adaptertest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

func testClusterBroadcast(t *testing.T, c *cluster) {
	var all []string
	for i := range c.nodes {
		for k := range 2 {
			all = append(all, c.connect(i, fmt.Sprintf("s%d-%d", i, k), "room").id)
		}
	}
	c.settle(t, "room")
	for i := range c.nodes {
		broadcast(t, c.nodes[i], "x", adapter.Options{})
		if got, want := c.reached(t, i, "x"), strings.Join(all, " "); got != want {
			t.Errorf("node %d to all: reached %q, want %q", i, got, want)
		}
		broadcast(t, c.nodes[i], "y", adapter.Options{Rooms: []string{"room"}})
		want := `2["y"]`
		for _, s := range c.sockets {
			Eventually(t, func() string {
				if !s.has(want) {
					return fmt.Sprintf("node %d to a room: %s is not reached", i, s.id)
				}
				return ""
			})
		}
		for _, s := range c.sockets {
			if got := s.Take(); len(got) != 1 {
				t.Errorf("node %d to a room: %s got %q", i, s.id, got)
			}
		}
	}
}

func testClusterSelection(t *testing.T, c *cluster) {
	last := len(c.nodes) - 1
	c.connect(0, "a", "r1")
	c.connect(0, "b", "r2")
	c.connect(last, "c", "r1", "r2")
	c.connect(last, "d")
	c.settle(t)
	for _, test := range []struct {
		rooms, except []string
		want          string
	}{
		{nil, nil, "a b c d"},
		{[]string{"r1", "r2"}, nil, "a b c"},
		{[]string{"r1", "r2", "r1"}, []string{"b"}, "a c"},
		{nil, []string{"r1"}, "b d"},
		{nil, []string{"r1", "r2", "nobody"}, "d"},
		{[]string{"d", "a", "nobody"}, nil, "a d"},
		{[]string{"a", "nobody"}, []string{"a"}, ""},
	} {
		for from := range c.nodes {
			broadcast(t, c.nodes[from], "x", adapter.Options{Rooms: test.rooms, Except: test.except})
			if got := c.reached(t, from, "x"); got != test.want {
				t.Errorf("node %d, rooms %q except %q: reached %q, want %q", from, test.rooms, test.except, got, test.want)
			}
		}
	}
}

func testClusterLocal(t *testing.T, c *cluster) {
	here, there := c.connect(0, "here"), c.connect(1, "there")
	here.Reply = func() parser.Args { return parser.Args{Data: []byte(`[1]`)} }
	there.Reply = here.Reply
	c.settle(t)
	local := adapter.Options{Flags: adapter.Flags{Local: true}}
	a := c.nodes[0].Adapter
	broadcast(t, c.nodes[0], "x", local)
	if err := errors.Join(a.AddSockets(local, "r"), a.AddSockets(adapter.Options{}, "q"), a.RemoveSockets(local, "q")); err != nil {
		t.Error(err)
	}
	if got := c.reached(t, 0, "x"); got != "here" {
		t.Errorf("broadcast reached %q", got)
	}
	equal(t, "rooms here", here.InRooms(), []string{"here", "r"})
	there.awaitRooms(t, "q", "there")
	found, err := a.FetchSockets(patient(t), local)
	if err != nil || len(found) != 1 || found[0].ID != "here" {
		t.Errorf("FetchSockets: %v, %v", found, err)
	}
	answers, err := a.BroadcastWithAck(patient(t), Event("x"), local)
	if err != nil || len(answers) != 1 {
		t.Errorf("BroadcastWithAck: %v, %v", answers, err)
	}
	if err := a.DisconnectSockets(local, false); err != nil {
		t.Error(err)
	}
	c.fence(t, 0)
	if here.Reachable() || !there.Reachable() {
		t.Errorf("after DisconnectSockets: here %v, there %v", here.Reachable(), there.Reachable())
	}
}

func testClusterFlags(t *testing.T, c *cluster) {
	s := c.connect(1, "s")
	c.settle(t)
	for _, f := range []adapter.Flags{{Volatile: true}, {NoCompress: true}} {
		broadcast(t, c.nodes[0], "x", adapter.Options{Flags: f})
		c.fence(t, 0)
		s.mu.Lock()
		got := s.flags[0]
		s.mu.Unlock()
		if got.Volatile != f.Volatile || got.NoCompress != f.NoCompress {
			t.Errorf("flags: got %+v, want %+v", got, f)
		}
		s.Take()
	}
}

func testClusterBinary(t *testing.T, c *cluster) {
	here, there := c.connect(0, "here"), c.connect(1, "there")
	c.settle(t)
	data, attachments, err := parser.AppendEvent(nil, nil, "bin", []byte{1, 2, 0xff}, map[string]any{"x": []byte{}, "n": nil}, "é€😀\u2028\"\\\x01", 1.5)
	if err != nil {
		t.Fatal(err)
	}
	p := &parser.Packet{Type: parser.Event, Namespace: "/", Data: data, Attachments: attachments}
	if err := c.nodes[0].Adapter.Broadcast(p, adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	attachments[0][0] = 9 // Broadcast must not have kept it
	c.fence(t, 0)
	got := here.Take()
	equal(t, "other node", there.Take(), got)
	if !strings.HasPrefix(got[0], `52-["bin",{"_placeholder":true,"num":0},`) {
		t.Errorf("got %q", got[0])
	}
	b := there.binary()
	if len(b) != 2 || !slices.Equal(b[0], []byte{1, 2, 0xff}) || len(b[1]) != 0 {
		t.Errorf("attachments: %v", b)
	}
}

// testClusterOrder sends from several nodes at once and checks that the events of each node stay in order.
func testClusterOrder(t *testing.T, c *cluster) {
	const count = 300
	s := c.connect(0, "s")
	c.settle(t)
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() {
			for k := range count {
				broadcast(t, n, fmt.Sprintf("%d-%d", i, k), adapter.Options{})
			}
		})
	}
	wg.Wait()
	next := make([]int, len(c.nodes))
	Eventually(t, func() string {
		for _, text := range s.Take() {
			var i, k int
			if _, err := fmt.Sscanf(text, `2["%d-%d"]`, &i, &k); err != nil || k != next[i] {
				t.Fatalf("got %q, want %d of node %d", text, next[i], i)
			}
			next[i]++
		}
		for i, n := range next {
			if n < count {
				return fmt.Sprintf("%d of %d events of node %d have come", n, count, i)
			}
		}
		return ""
	})
}
