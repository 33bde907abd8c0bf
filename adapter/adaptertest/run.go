package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Run checks the contract on one node. open creates the adapter of a namespace.
func Run(t *testing.T, open adapter.Factory) {
	tests := map[string]func(*testing.T, *Node){
		"membership":       testMembership,
		"many rooms":       testManyRooms,
		"room events":      testRoomEvents,
		"selection":        testSelection,
		"own room shared":  testOwnRoomShared,
		"encoded once":     testEncodedOnce,
		"removed for good": testRemovedForGood,
		"acknowledgements": testAcknowledgements,
		"bulk operations":  testBulkOperations,
		"concurrent":       testConcurrent,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n := NewNode("/")
			n.Adapter = open(n)
			t.Cleanup(func() {
				if err := n.Adapter.Close(context.Background()); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test(t, n)
		})
	}
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func testMembership(t *testing.T, n *Node) {
	a := n.Connect("a", "r1", "r2")
	equal(t, "rooms", a.InRooms(), []string{"a", "r1", "r2"})
	n.Adapter.Remove(a, "r1")
	n.Adapter.Remove(a, "unknown")
	equal(t, "rooms after leaving", a.InRooms(), []string{"a", "r2"})
	n.Adapter.Remove(a, "a")
	equal(t, "rooms after leaving its own", a.InRooms(), []string{"r2"})
	if s, ok := n.Adapter.Socket("a"); !ok || s != adapter.Socket(a) {
		t.Errorf("Socket: got %v, %v", s, ok)
	}
	n.Adapter.RemoveAll(a)
	n.Adapter.RemoveAll(a)
	equal(t, "rooms after RemoveAll", a.InRooms(), []string{})
	if _, ok := n.Adapter.Socket("a"); ok {
		t.Error("Socket finds a socket that was removed")
	}
}

func testManyRooms(t *testing.T, n *Node) {
	a, b := n.Connect("a"), n.Connect("b")
	var want []string
	for i := range 100 {
		room := fmt.Sprintf("room%02d", i)
		want = append(want, room)
		for _, s := range []*Socket{a, b} {
			if err := n.Adapter.Add(s, room); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := 0; i < 100; i += 3 {
		n.Adapter.Remove(a, want[i])
	}
	equal(t, "b", b.InRooms(), append([]string{"b"}, want...))
	left := []string{"a"}
	for i, room := range want {
		if i%3 != 0 {
			left = append(left, room)
		}
	}
	equal(t, "a", a.InRooms(), left)
	for i, room := range want {
		if err := n.Adapter.Broadcast(Event("x"), adapter.Options{Rooms: []string{room}}); err != nil {
			t.Fatal(err)
		}
		if got, in := len(a.Take()) == 1, i%3 != 0; got != in {
			t.Errorf("%s reaches a: %v, want %v", room, got, in)
		}
		if len(b.Take()) != 1 {
			t.Errorf("%s does not reach b", room)
		}
	}
}

func testRoomEvents(t *testing.T, n *Node) {
	a := n.Connect("a", "r")
	b := n.Connect("b", "r", "r")
	n.Adapter.Remove(a, "r")
	n.Adapter.RemoveAll(b)
	var got []string
	for _, e := range n.TakeRoomEvents() {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Kind, e.Room, e.Socket)))
	}
	equal(t, "events", got, []string{
		"create-room a", "join-room a a", "create-room r", "join-room r a",
		"create-room b", "join-room b b", "join-room r b",
		"leave-room r a",
		"leave-room b b", "delete-room b", "leave-room r b", "delete-room r",
	})
}

func testSelection(t *testing.T, n *Node) {
	sockets := []*Socket{n.Connect("a", "r1"), n.Connect("b", "r1", "r2"), n.Connect("c", "r2"), n.Connect("d")}
	away := n.Connect("e", "r1")
	away.connected.Store(false)
	for _, test := range []struct {
		rooms, except []string
		want          string
	}{
		{nil, nil, "abcd"},
		{[]string{"r1"}, nil, "ab"},
		{[]string{"r1", "r2"}, nil, "abc"},
		{[]string{"r1", "r2", "r1"}, []string{"b"}, "ac"},
		{nil, []string{"r1"}, "cd"},
		{nil, []string{"r1", "r2", "nobody"}, "d"},
		{[]string{"a"}, []string{"a"}, ""},
		{[]string{"d", "a", "nobody"}, nil, "ad"},
		{[]string{"nobody"}, nil, ""},
	} {
		o := adapter.Options{Rooms: test.rooms, Except: test.except}
		if err := n.Adapter.Broadcast(Event("x"), o); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range sockets {
			for range s.Take() {
				got += s.id
			}
		}
		if got != test.want {
			t.Errorf("rooms %q except %q: reached %q, want %q", test.rooms, test.except, got, test.want)
		}
	}
	if len(away.Take()) > 0 {
		t.Error("a socket that is not connected was reached")
	}
}

// testOwnRoomShared adds a socket to the room named after another socket.
func testOwnRoomShared(t *testing.T, n *Node) {
	a, b := n.Connect("a"), n.Connect("b", "a")
	if err := n.Adapter.Broadcast(Event("x"), adapter.Options{Rooms: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	equal(t, "a", a.Take(), []string{`2["x"]`})
	equal(t, "b", b.Take(), []string{`2["x"]`})
	n.Adapter.RemoveAll(a)
	n.TakeRoomEvents()
	n.Adapter.Remove(b, "a")
	if events := n.TakeRoomEvents(); len(events) != 2 || events[1].Kind != adapter.RoomDeleted {
		t.Errorf("events when the last socket leaves: %v", events)
	}
}

func testEncodedOnce(t *testing.T, n *Node) {
	for i := range 20 {
		n.Connect(fmt.Sprint("s", i), "r", fmt.Sprint("r", i%3))
	}
	for _, rooms := range [][]string{nil, {"r"}, {"r0", "r1", "r"}, {"nobody"}} {
		n.encoded.Store(0)
		if err := n.Adapter.Broadcast(Event("x"), adapter.Options{Rooms: rooms}); err != nil {
			t.Fatal(err)
		}
		if got := n.encoded.Load(); got > 1 {
			t.Errorf("rooms %q: encoded %d times", rooms, got)
		}
	}
}

func testRemovedForGood(t *testing.T, n *Node) {
	a := n.Connect("a")
	n.Adapter.RemoveAll(a)
	if err := n.Adapter.Add(a, "r"); err != nil {
		t.Errorf("Add: %v", err)
	}
	equal(t, "rooms", a.InRooms(), []string{})
}

func testAcknowledgements(t *testing.T, n *Node) {
	sockets := []*Socket{n.Connect("a", "r"), n.Connect("b", "r"), n.Connect("c")}
	for _, s := range sockets {
		s.Reply = func() parser.Args { return parser.Args{Data: []byte(`["` + s.id + `"]`)} }
	}
	ask := func(ctx context.Context, o adapter.Options) ([]string, error) {
		answers, err := n.Adapter.BroadcastWithAck(ctx, Event("x"), o)
		if answers == nil {
			t.Error("BroadcastWithAck returned nil instead of an empty list")
		}
		return texts(answers), err
	}
	got, err := ask(patient(t), adapter.Options{Rooms: []string{"r"}})
	if err != nil {
		t.Errorf("all answer: %v", err)
	}
	equal(t, "all answer", got, []string{`["a"]`, `["b"]`})

	// A socket in several of the rooms is asked once, and waited for once.
	for _, s := range sockets[:2] {
		s.Take()
	}
	got, err = ask(patient(t), adapter.Options{Rooms: []string{"r", "a", "b", "r"}})
	if err != nil {
		t.Errorf("several rooms: %v", err)
	}
	equal(t, "several rooms", got, []string{`["a"]`, `["b"]`})
	for _, s := range sockets[:2] {
		if n := len(s.Take()); n != 1 {
			t.Errorf("%s, which is in several of the rooms, was sent %d packets", s.id, n)
		}
	}

	got, err = ask(patient(t), adapter.Options{Rooms: []string{"nobody"}})
	if err != nil {
		t.Errorf("nobody there: %v", err)
	}
	equal(t, "nobody there", got, []string{})

	sockets[1].Reply = nil
	replied, awaitReplies := count(t, "answers")
	sockets[0].Replied = replied
	got, err = atDeadline(t, func(ctx context.Context) ([]parser.Args, error) {
		return n.Adapter.BroadcastWithAck(ctx, Event("x"), adapter.Options{Rooms: []string{"r"}})
	}, func() { awaitReplies(1) })
	if err == nil {
		t.Error("one does not answer: no error")
	}
	equal(t, "one does not answer", got, []string{`["a"]`})
	if _, err = ask(t.Context(), adapter.Options{Rooms: []string{"r"}, Flags: adapter.Flags{Timeout: 20 * time.Millisecond}}); !errors.Is(err, adapter.ErrTimeout) {
		t.Errorf("one does not answer: got %v, want ErrTimeout", err)
	}
	if n := sockets[1].Pending(); n != 0 {
		t.Errorf("%d acknowledgements still waited for after the time-out", n)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Adapter.BroadcastWithAck(ctx, Event("x"), adapter.Options{Rooms: []string{"b"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func testBulkOperations(t *testing.T, n *Node) {
	a, b, c := n.Connect("a", "r"), n.Connect("b", "r"), n.Connect("c")
	r := adapter.Options{Rooms: []string{"r"}, Except: []string{"b"}}
	if err := n.Adapter.AddSockets(r, "x", "y"); err != nil {
		t.Fatal(err)
	}
	equal(t, "a joined", a.InRooms(), []string{"a", "r", "x", "y"})
	equal(t, "b did not", b.InRooms(), []string{"b", "r"})
	if err := n.Adapter.RemoveSockets(r, "x", "r"); err != nil {
		t.Fatal(err)
	}
	equal(t, "a left", a.InRooms(), []string{"a", "y"})
	found, err := n.Adapter.FetchSockets(t.Context(), adapter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, d := range found {
		slices.Sort(d.Rooms)
		ids = append(ids, fmt.Sprint(d.ID, d.Rooms, string(d.Data)))
	}
	slices.Sort(ids)
	equal(t, "found", ids, []string{`a[a y]{"of":"a"}`, `b[b r]{"of":"b"}`, `c[c]{"of":"c"}`})
	if err := n.Adapter.DisconnectSockets(adapter.Options{Except: []string{"c"}}, false); err != nil {
		t.Fatal(err)
	}
	if found, err := n.Adapter.FetchSockets(t.Context(), adapter.Options{Rooms: []string{"c", "s", "c"}}); err != nil || len(found) != 1 {
		t.Errorf("a socket named twice: found %v, %v", found, err)
	}
	if a.Reachable() || b.Reachable() || !c.Reachable() {
		t.Errorf("connected after DisconnectSockets: %v %v %v", a.Reachable(), b.Reachable(), c.Reachable())
	}
}

// testConcurrent connects, moves and disconnects sockets during broadcasts. Then it counts the remaining sockets.
func testConcurrent(t *testing.T, n *Node) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 100 {
				s := n.Connect(fmt.Sprintf("s%d-%d", w, i), "all", fmt.Sprint("w", w), fmt.Sprint("i", i%7))
				_ = n.Adapter.Broadcast(Event("x"), adapter.Options{Rooms: []string{"all", fmt.Sprint("i", i%7)}, Except: []string{s.id}})
				n.Adapter.Remove(s, fmt.Sprint("i", i%7))
				if i%10 != 0 {
					s.Disconnect(false)
				}
			}
		})
	}
	wg.Wait()
	found, err := n.Adapter.FetchSockets(t.Context(), adapter.Options{Rooms: []string{"all"}})
	if err != nil || len(found) != 80 {
		t.Errorf("%d sockets are left (%v), want 80", len(found), err)
	}
	created := map[string]int{}
	for _, e := range n.TakeRoomEvents() {
		switch e.Kind {
		case adapter.RoomJoined:
			created[e.Room]++
		case adapter.RoomLeft:
			created[e.Room]--
		}
	}
	for i := range 7 {
		if n := created[fmt.Sprint("i", i)]; n != 0 {
			t.Errorf("room i%d has %d members by its events", i, n)
		}
	}
}
