package adaptertest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// slowNode blocks in Encode until its gate is opened.
type slowNode struct {
	*Node
	gate chan struct{}
}

// Encode implements adapter.Namespace.
func (n *slowNode) Encode(p *parser.Packet, f adapter.Flags) (*transport.Message, error) {
	<-n.gate
	return n.Node.Encode(p, f)
}

// RunSlow blocks delivery in one of two namespaces of a node. It checks that the other namespace does not wait. Messages
// beyond the bound of the slow namespace are dropped and counted, or wait in the backend if keeps is true. Other messages
// arrive in order. open returns the factory of a node.
func RunSlow(t *testing.T, keeps bool, open func(adapter.ClusterOptions) adapter.Factory) {
	const maxPending = 100_000
	var log Log
	o := adapter.ClusterOptions{Logger: log.Logger(), MaxPendingBytes: maxPending}
	here, there := open(o), open(o)
	slow := &slowNode{NewNode("/slow"), make(chan struct{})}
	release := sync.OnceFunc(func() { close(slow.gate) })
	slow.Adapter = here(slow)
	t.Cleanup(func() {
		release()
		_ = slow.Adapter.Close(context.Background())
	})
	quick := NewNode("/quick")
	quick.Open(t, here)
	senders := map[string]*Node{}
	for _, name := range []string{"/slow", "/quick"} {
		senders[name] = NewNode(name)
		senders[name].Open(t, there)
	}
	for _, n := range []*Node{quick, slow.Node, senders["/slow"], senders["/quick"]} {
		<-n.Adapter.(*adapter.Cluster).Ready()
		Eventually(t, func() string {
			if got, err := n.Adapter.ServerCount(t.Context()); got != 2 || err != nil {
				return fmt.Sprintf("ServerCount: %d, %v\n%s", got, err, &log)
			}
			return ""
		})
	}
	s, q := slow.Connect("s"), quick.Connect("q")
	send := func(namespace, name string) {
		t.Helper()
		p := Event(name)
		p.Namespace = namespace
		if err := senders[namespace].Adapter.Broadcast(p, adapter.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	// reach sends an event and waits until it arrives. If the event may be dropped, reach sends it repeatedly. It returns the
	// events received before.
	reach := func(n *Node, s *Socket, name string, drops bool) (before []string) {
		t.Helper()
		text := `2` + n.name + `,["` + name + `"]`
		send(n.name, name)
		Eventually(t, func() string {
			for _, got := range s.Take() {
				if got == text {
					return ""
				}
				before = append(before, got)
			}
			if drops {
				send(n.name, name)
			}
			return fmt.Sprintf("%s does not arrive\n%+v\n%+v\n%s", text, slow.Stats(), quick.Stats(), &log)
		})
		return before
	}
	sent := 0
	fill := func(bytes int) {
		t.Helper()
		for ; bytes > 0; bytes -= 1000 {
			send("/slow", fmt.Sprint(sent, strings.Repeat("x", 1000)))
			sent++
		}
	}

	fill(maxPending / 10)
	reach(quick, q, "meanwhile", false)

	fill(3 * maxPending)
	if !keeps {
		Eventually(t, func() string {
			if s := slow.Stats(); s.Dropped == 0 {
				return fmt.Sprintf("nothing is dropped: %+v", s)
			}
			return ""
		})
		log.Await(t, "messages of other nodes dropped", 1)
		reach(quick, q, "later", false)
	}
	release()
	got := reach(slow.Node, s, "last", !keeps)
	last := -1
	for _, text := range got {
		n := -1
		if _, err := fmt.Sscanf(text, `2/slow,["%d`, &n); err != nil || n <= last || keeps && n != last+1 {
			t.Fatalf("got %.20s after %d", text, last)
		}
		last = n
	}
	switch stats := slow.Stats(); {
	case stats.Lost+quick.Stats().Lost > 0:
		t.Errorf("a connection is given up: %+v\n%s", stats, &log)
	case keeps && (len(got) != sent || stats.Dropped > 0):
		t.Errorf("%d events of %d have come: %+v", len(got), sent, stats)
	case !keeps && (len(got) < maxPending/10/1000 || len(got) > sent/2):
		t.Errorf("%d events of %d have come: %+v", len(got), sent, stats)
	}
}
