package adaptertest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
)

// Open creates the Adapter of n and closes it when the test ends. An error of Close is ignored, because the backend may be
// gone.
func (n *Node) Open(t testing.TB, open adapter.Factory) {
	n.Adapter = open(n)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		_ = n.Adapter.Close(ctx)
	})
}

// ServesAlone checks that n, whose backend is gone, reaches its only socket s and reports missing answers.
func ServesAlone(t testing.TB, n *Node, s *Socket) {
	t.Helper()
	s.Take()
	if err := n.Adapter.Broadcast(Event("here"), adapter.Options{}); err != nil {
		t.Errorf("Broadcast: %v", err)
	}
	if got := s.Take(); !slices.Contains(got, `2["here"]`) { // earlier events of other nodes may arrive, too
		t.Errorf("on this node: got %q", got)
	}
	found, err := n.Adapter.FetchSockets(t.Context(), adapter.Options{})
	if err == nil || len(found) != 1 {
		t.Errorf("FetchSockets: %v, %v, want the socket of this node and an error", found, err)
	}
}

// RunUnreachable checks an adapter whose backend is never reachable: it serves its own socket, logs a message that contains
// line, and can be closed.
func RunUnreachable(t *testing.T, line string, open func(adapter.ClusterOptions) adapter.Factory) {
	var log Log
	n := NewNode("/")
	n.Adapter = open(adapter.ClusterOptions{Logger: log.Logger()})(n)
	s := n.Connect("s")
	if err := n.Adapter.Broadcast(Event("x"), adapter.Options{}); err != nil || len(s.Take()) != 1 {
		t.Errorf("Broadcast: %v", err)
	}
	log.Until(t, line, func() bool { return strings.Contains(log.String(), line) })
	n.close(t)
}
