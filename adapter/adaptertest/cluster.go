package adaptertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
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
