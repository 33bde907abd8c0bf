package adaptertest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
)

func testClusterFetch(t *testing.T, c *cluster) {
	for i := range c.nodes {
		c.connect(i, fmt.Sprint("s", i), "all", fmt.Sprint("room", i))
	}
	c.settle(t)
	for i := range c.nodes {
		found, err := c.nodes[i].Adapter.FetchSockets(patient(t), adapter.Options{Rooms: []string{"all"}})
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, d := range found {
			slices.Sort(d.Rooms)
			got = append(got, fmt.Sprint(d.ID, d.Rooms, string(d.Data), string(d.Handshake)))
		}
		slices.Sort(got)
		for k := range c.nodes {
			want = append(want, fmt.Sprintf(`s%d[all room%d s%d]{"of":"s%d"}{}`, k, k, k, k))
		}
		equal(t, fmt.Sprint("node ", i), got, want)
	}
	found, err := c.nodes[0].Adapter.FetchSockets(patient(t), adapter.Options{Rooms: []string{"room1"}, Except: []string{"s0"}})
	if err != nil || len(found) != 1 || found[0].ID != "s1" {
		t.Errorf("one room: %v, %v", found, err)
	}
	found, err = c.nodes[0].Adapter.FetchSockets(patient(t), adapter.Options{Rooms: []string{"nobody"}})
	if err != nil || found == nil || len(found) != 0 {
		t.Errorf("nobody: %v, %v", found, err)
	}
}

// awaitRooms waits until s is in exactly these rooms.
func (s *Socket) awaitRooms(t *testing.T, want ...string) {
	t.Helper()
	Eventually(t, func() string {
		if got := s.InRooms(); !slices.Equal(got, want) {
			return fmt.Sprintf("%s is in %q, want %q", s.id, got, want)
		}
		return ""
	})
}

func testClusterJoinLeave(t *testing.T, c *cluster) {
	here, there := c.connect(0, "here", "r"), c.connect(1, "there", "r")
	other := c.connect(1, "other", "r", "not")
	c.settle(t)
	o := adapter.Options{Rooms: []string{"r"}, Except: []string{"not"}}
	if err := c.nodes[0].Adapter.AddSockets(o, "x", "y#*", "z"); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes[0].Adapter.RemoveSockets(o, "r", "z"); err != nil {
		t.Fatal(err)
	}
	equal(t, "here", here.InRooms(), []string{"here", "x", "y#*"})
	there.awaitRooms(t, "there", "x", "y#*")
	other.awaitRooms(t, "not", "other", "r")
	c.settle(t, "y#*")
	broadcast(t, c.nodes[1], "e", adapter.Options{Rooms: []string{"y#*"}})
	if !c.haveAll("y#*", "e", Patience) {
		t.Error("the new room is not reached")
	}
}

func testClusterDisconnect(t *testing.T, c *cluster) {
	here, there := c.connect(0, "here", "r"), c.connect(1, "there", "r")
	stays := c.connect(1, "stays")
	c.settle(t)
	if err := c.nodes[0].Adapter.DisconnectSockets(adapter.Options{Rooms: []string{"r"}}, false); err != nil {
		t.Fatal(err)
	}
	Eventually(t, func() string {
		if here.Reachable() || there.Reachable() {
			return fmt.Sprintf("reachable: here %v, there %v", here.Reachable(), there.Reachable())
		}
		return ""
	})
	if !stays.Reachable() {
		t.Error("a socket that was not in the room is disconnected")
	}
}
