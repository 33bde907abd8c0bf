package adaptertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// testClusterNamespaces uses three namespaces whose names contain each other.
func testClusterNamespaces(t *testing.T, c *cluster) {
	names := []string{"/a", "/a#b", "/*"}
	sockets := map[string]*Socket{}
	senders := map[string]*Node{}
	for _, name := range names {
		n := c.join(t, name)
		sockets[name] = n.Connect("s", "b", "all")
		senders[name] = c.join(t, name)
		Eventually(t, func() string {
			if got, err := senders[name].Adapter.ServerCount(t.Context()); got != 2 || err != nil {
				return fmt.Sprintf("ServerCount in %s: %d, %v", name, got, err)
			}
			return ""
		})
	}
	main := c.connect(0, "s", "b", "all")
	c.settle(t)
	for _, o := range []adapter.Options{{}, {Rooms: []string{"all", "b"}}} {
		for _, name := range names {
			p := Event("x")
			p.Namespace = name
			if err := senders[name].Adapter.Broadcast(p, o); err != nil {
				t.Fatal(err)
			}
			Eventually(t, func() string {
				if !sockets[name].has(`2` + name + `,["x"]`) {
					return fmt.Sprintf("rooms %q of %s are not reached", o.Rooms, name)
				}
				return ""
			})
			sockets[name].Take()
			for other, s := range sockets {
				if got := s.Take(); len(got) > 0 {
					t.Errorf("rooms %q of %s: %s got %q", o.Rooms, name, other, got)
				}
			}
		}
	}
	// The channel of a room may have the same name as another namespace's channel. Subscribing to a room may take a while.
	for _, name := range names {
		p := Event("room")
		p.Namespace = name
		Eventually(t, func() string {
			if err := senders[name].Adapter.Broadcast(p, adapter.Options{Rooms: []string{"b"}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			if !sockets[name].has(`2` + name + `,["room"]`) {
				return fmt.Sprintf("room b of %s is not reached", name)
			}
			return ""
		})
	}
	for name, s := range sockets {
		for _, text := range s.Take() {
			if text != `2`+name+`,["room"]` {
				t.Errorf("%s got %q", name, text)
			}
		}
	}
	if got := main.Take(); len(got) > 0 {
		t.Errorf("/ got %q", got)
	}
}

func testClusterNodeLeaves(t *testing.T, c *cluster) {
	last := len(c.nodes) - 1
	c.nodes[last].close(t)
	c.nodes = c.nodes[:last]
	c.awaitNodes(t, "/", last)
	s := c.connect(0, "s")
	s.Reply = func() parser.Args { return parser.Args{Data: []byte(`[1]`)} }
	if _, err := c.nodes[0].Adapter.FetchSockets(patient(t), adapter.Options{}); err != nil {
		t.Errorf("FetchSockets: %v", err)
	}
	if got, err := c.ask(t, 0, adapter.Options{}); err != nil || len(got) != 1 {
		t.Errorf("BroadcastWithAck: %q, %v", got, err)
	}
	c.join(t, "/")
	c.awaitNodes(t, "/", last+1)
	c.connect(last, "new")
	c.settle(t)
}

// testClusterRoomsComeAndGo quickly moves sockets in and out of a room, which subscriptions must follow.
func testClusterRoomsComeAndGo(t *testing.T, c *cluster) {
	s := c.connect(1, "s")
	for range 50 {
		if err := c.nodes[1].Adapter.Add(s, "a", "b"); err != nil {
			t.Fatal(err)
		}
		c.nodes[1].Adapter.Remove(s, "a")
		c.nodes[1].Adapter.Remove(s, "b")
	}
	if err := c.nodes[1].Adapter.Add(s, "a"); err != nil {
		t.Fatal(err)
	}
	c.settle(t, "a")
	broadcast(t, c.nodes[0], "b", adapter.Options{Rooms: []string{"b"}})
	broadcast(t, c.nodes[0], "a", adapter.Options{Rooms: []string{"a"}})
	if !c.haveAll("a", "a", Patience) {
		t.Error("the room is not reached")
	}
	if s.has(`2["b"]`) {
		t.Error("a room is reached that the socket has left")
	}
}
