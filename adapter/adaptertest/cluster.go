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

// RunCluster checks the contract on two and on three nodes. It calls open once for each test. open returns the factory for
// the nodes of a new cluster. Resources of the cluster must be released in a clean-up, which runs after the nodes have closed.
func RunCluster(t *testing.T, open func(t *testing.T) adapter.Factory) {
	tests := map[string]func(*testing.T, *cluster){
		"broadcast":           testClusterBroadcast,
		"selection":           testClusterSelection,
		"local":               testClusterLocal,
		"flags":               testClusterFlags,
		"binary":              testClusterBinary,
		"order":               testClusterOrder,
		"acknowledgements":    testClusterAcks,
		"binary answers":      testClusterBinaryAcks,
		"fetch":               testClusterFetch,
		"join and leave":      testClusterJoinLeave,
		"disconnect":          testClusterDisconnect,
		"server-side emit":    testClusterServerSideEmit,
		"server-side answers": testClusterServerSideAcks,
		"namespaces":          testClusterNamespaces,
		"node leaves":         testClusterNodeLeaves,
		"rooms come and go":   testClusterRoomsComeAndGo,
	}
	for _, size := range []int{2, 3} {
		for name, test := range tests {
			t.Run(fmt.Sprintf("%d nodes/%s", size, name), func(t *testing.T) {
				c := &cluster{open: open(t)}
				for range size {
					c.join(t, "/")
				}
				c.awaitNodes(t, "/", size)
				test(t, c)
			})
		}
	}
}

// Processes returns a factory that simulates separate processes: each node has its own factory, created by open, because the
// namespaces of one factory may share a connection. Nodes of one namespace are created one after the other.
func Processes(open func() adapter.Factory) adapter.Factory {
	var factories []adapter.Factory
	count := map[string]int{}
	return func(ns adapter.Namespace) adapter.Adapter {
		i := count[ns.Name()]
		count[ns.Name()]++
		if i == len(factories) {
			factories = append(factories, open())
		}
		return factories[i](ns)
	}
}

// cluster is a number of nodes, each with one namespace.
type cluster struct {
	open    adapter.Factory
	kept    *adapter.RecoveryOptions // for all nodes
	nodes   []*Node                  // the nodes of "/"
	sockets []*Socket
}

// join adds a node.
func (c *cluster) join(t *testing.T, namespace string) *Node {
	n := NewNode(namespace)
	n.Kept = c.kept
	n.Adapter = c.open(n)
	t.Cleanup(func() { n.close(t) })
	if namespace == "/" {
		c.nodes = append(c.nodes, n)
	}
	return n
}

// close closes the adapter of n. It may be called twice.
func (n *Node) close(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := n.Adapter.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// connect connects a socket to node i.
func (c *cluster) connect(i int, id string, rooms ...string) *Socket {
	s := c.nodes[i].Connect(id, rooms...)
	c.sockets = append(c.sockets, s)
	return s
}

// awaitNodes waits until each node counts this many nodes.
func (c *cluster) awaitNodes(t *testing.T, namespace string, want int) {
	t.Helper()
	for _, n := range c.nodes {
		if n.name != namespace {
			continue
		}
		Eventually(t, func() string {
			got, err := n.Adapter.ServerCount(t.Context())
			if err != nil || got != want {
				return fmt.Sprintf("ServerCount: %d, %v, want %d", got, err, want)
			}
			return ""
		})
	}
}

// settle waits until broadcasts to all sockets and to each of rooms reach the members on other nodes. It discards the events
// sent for that. Subscribing to a room may take a while.
func (c *cluster) settle(t *testing.T, rooms ...string) {
	t.Helper()
	for i, from := range c.nodes {
		for _, room := range append([]string{""}, rooms...) {
			o := adapter.Options{}
			if room != "" {
				o.Rooms = []string{room}
			}
			// Messages on one channel stay in order: after the last of them, no other arrives.
			repeatedly(t, fmt.Sprintf("node %d: what it sends to room %q does not reach all of its members", i, room), func(try int, limit time.Duration) bool {
				name := fmt.Sprintf("settle-%d-%s-%d", i, room, try)
				broadcast(t, from, name, o)
				return c.haveAll(room, name, limit)
			})
		}
	}
	for _, s := range c.sockets {
		s.Take()
	}
}

// haveAll waits until all members of a room have received an event. It reports whether they did in time.
func (c *cluster) haveAll(room, name string, limit time.Duration) bool {
	text := `2["` + name + `"]`
	for deadline := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		missing := slices.ContainsFunc(c.sockets, func(s *Socket) bool {
			return s.Reachable() && (room == "" || slices.Contains(s.node.Adapter.Rooms(s), room)) && !s.has(text)
		})
		if !missing || time.Now().After(deadline) {
			return !missing
		}
	}
}

// has reports whether a text was sent to the socket since the last Take.
func (s *Socket) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.received, text)
}

func broadcast(t *testing.T, n *Node, name string, o adapter.Options) {
	t.Helper()
	if err := n.Adapter.Broadcast(Event(name), o); err != nil {
		t.Errorf("Broadcast: %v", err)
	}
}

// fence waits until all broadcasts of node i to all sockets have arrived. Its requests may take another way: another channel
// or another server.
func (c *cluster) fence(t *testing.T, i int) {
	t.Helper()
	broadcast(t, c.nodes[i], "fence", adapter.Options{})
	if !c.haveAll("", "fence", Patience) {
		t.Fatal("what was broadcast to all did not reach all")
	}
}

// reached calls fence and returns the ids of the sockets that received an event, in order.
func (c *cluster) reached(t *testing.T, from int, name string) string {
	t.Helper()
	c.fence(t, from)
	var ids []string
	for _, s := range c.sockets {
		for _, text := range s.Take() {
			if text == `2["`+name+`"]` {
				ids = append(ids, s.id)
			}
		}
	}
	return strings.Join(ids, " ")
}

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

// heard waits until node i has received all answers that other nodes have sent so far.
func (c *cluster) heard(t *testing.T, i int) {
	t.Helper()
	if _, err := c.nodes[i].Adapter.FetchSockets(patient(t), adapter.Options{}); err != nil {
		t.Errorf("FetchSockets: %v", err)
	}
}

// ask broadcasts from node i and returns the answers, sorted.
func (c *cluster) ask(t *testing.T, i int, o adapter.Options) ([]string, error) {
	t.Helper()
	answers, err := c.nodes[i].Adapter.BroadcastWithAck(patient(t), Event("x"), o)
	if answers == nil {
		t.Error("BroadcastWithAck returned nil instead of an empty list")
	}
	return texts(answers), err
}

func texts(answers []parser.Args) []string {
	list := []string{}
	for _, a := range answers {
		list = append(list, string(a.Data))
	}
	slices.Sort(list)
	return list
}

func testClusterAcks(t *testing.T, c *cluster) {
	var all []string
	for i := range c.nodes {
		for k := range 2 {
			s := c.connect(i, fmt.Sprintf("s%d-%d", i, k), fmt.Sprint("node", i))
			s.Reply = func() parser.Args { return parser.Args{Data: []byte(`["` + s.id + `"]`)} }
			all = append(all, `["`+s.id+`"]`)
		}
	}
	c.settle(t)
	for i := range c.nodes {
		got, err := c.ask(t, i, adapter.Options{})
		if err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		equal(t, fmt.Sprintf("node %d", i), got, all)
	}
	got, err := c.ask(t, 0, adapter.Options{Rooms: []string{"node1"}})
	if err != nil {
		t.Error(err)
	}
	equal(t, "a room elsewhere", got, []string{`["s1-0"]`, `["s1-1"]`})
	got, err = c.ask(t, 0, adapter.Options{Rooms: []string{"nobody"}})
	if err != nil {
		t.Error(err)
	}
	equal(t, "nobody", got, []string{})
	got, err = c.ask(t, 0, adapter.Options{Rooms: []string{"s1-1"}, Flags: adapter.Flags{ExpectSingleResponse: true}})
	if err != nil {
		t.Error(err)
	}
	equal(t, "one socket", got, []string{`["s1-1"]`})

	c.sockets[2].Reply = nil // on node 1
	replied, awaitReplies := count(t, "answers")
	for _, s := range c.sockets {
		s.Replied = replied
	}
	got, err = atDeadline(t, func(ctx context.Context) ([]parser.Args, error) {
		return c.nodes[0].Adapter.BroadcastWithAck(ctx, Event("x"), adapter.Options{})
	}, func() {
		awaitReplies(len(all) - 1)
		c.heard(t, 0)
	})
	if !errors.Is(err, adapter.ErrTimeout) {
		t.Errorf("one does not answer: %v, want ErrTimeout", err)
	}
	equal(t, "one does not answer", got, slices.Delete(slices.Clone(all), 2, 3))

	if len(c.nodes) > 2 {
		return // takes a second and adds nothing
	}
	s := c.sockets[2]
	s.Take()
	before := s.Pending()
	o := adapter.Options{Rooms: []string{s.id}, Flags: adapter.Flags{Timeout: 200 * time.Millisecond}}
	if _, err = c.ask(t, 0, o); !errors.Is(err, adapter.ErrTimeout) {
		t.Errorf("no answer in time: %v, want ErrTimeout", err)
	}
	Eventually(t, func() string {
		if len(s.Take()) == 0 {
			return "the event does not arrive"
		}
		return ""
	})
	Eventually(t, func() string {
		if n := s.Pending(); n > before {
			return fmt.Sprintf("%d acknowledgements are still waited for on the other node", n)
		}
		return ""
	})
}

func testClusterBinaryAcks(t *testing.T, c *cluster) {
	s := c.connect(1, "s")
	c.settle(t)
	ask := func(answer ...any) parser.Args {
		t.Helper()
		s.Reply = func() parser.Args {
			data, attachments, err := parser.AppendArgs(nil, nil, answer...)
			if err != nil {
				t.Error(err)
			}
			return parser.Args{Data: data, Attachments: attachments}
		}
		answers, err := c.nodes[0].Adapter.BroadcastWithAck(patient(t), Event("x"), adapter.Options{})
		if err != nil || len(answers) != 1 {
			t.Fatalf("got %v, %v", answers, err)
		}
		return answers[0]
	}
	if b, ok := ask([]byte{9, 8}).At(0).Binary(); !ok || !slices.Equal(b, []byte{9, 8}) {
		t.Errorf("binary: %v, %v", b, ok)
	}
	// Only the first argument is passed on.
	if got := ask("first", []byte{1}); string(got.Data) != `["first"]` || len(got.Attachments) > 0 {
		t.Errorf("several arguments: %s with %v", got.Data, got.Attachments)
	}
	if got := ask(); got.Len() != 0 {
		t.Errorf("no argument: %s", got.Data)
	}
	if got := ask(nil); string(got.Data) != `[null]` {
		t.Errorf("null: %s", got.Data)
	}
}

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

func testClusterServerSideEmit(t *testing.T, c *cluster) {
	var want []string
	for i := range 100 {
		data := fmt.Appendf(nil, `["sse",%d,{"a":[true]}]`, i)
		want = append(want, string(data))
		if err := c.nodes[0].Adapter.ServerSideEmit(parser.Args{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range c.nodes {
		if i == 0 {
			continue
		}
		Eventually(t, func() string {
			if got := n.Emits(); len(got) < len(want) {
				return fmt.Sprintf("node %d got %d events, want %d", i, len(got), len(want))
			}
			return ""
		})
		equal(t, fmt.Sprint("node ", i), n.Emits(), want)
	}
	if got := c.nodes[0].Emits(); len(got) > 0 {
		t.Errorf("the node that emitted got %q", got)
	}
}

func testClusterServerSideAcks(t *testing.T, c *cluster) {
	answers, err := c.nodes[0].Adapter.ServerSideEmitWithAck(patient(t), parser.Args{Data: []byte(`["sse",{"q":1}]`)})
	if err != nil {
		t.Error(err)
	}
	// A node answers with the first argument, which is the name of the event.
	equal(t, "answers", texts(answers), slices.Repeat([]string{`["sse"]`}, len(c.nodes)-1))

	c.nodes[1].Mute.Store(true)
	got, err := atDeadline(t, func(ctx context.Context) ([]parser.Args, error) {
		answers, err := c.nodes[0].Adapter.ServerSideEmitWithAck(ctx, parser.Args{Data: []byte(`["sse"]`)})
		if answers == nil {
			t.Error("ServerSideEmitWithAck returned nil instead of an empty list")
		}
		return answers, err
	}, func() {
		for _, n := range c.nodes[1:] {
			Eventually(t, func() string {
				if got := n.Emits(); len(got) < 2 {
					return fmt.Sprintf("%q has come", got)
				}
				return ""
			})
		}
		c.heard(t, 0)
	})
	if !errors.Is(err, adapter.ErrTimeout) {
		t.Errorf("one node does not answer: %v, want ErrTimeout", err)
	}
	equal(t, "answers without one", got, slices.Repeat([]string{`["sse"]`}, len(c.nodes)-2))
}

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
