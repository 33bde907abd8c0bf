package adaptertest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
)

// Open makes the Adapter of n, and closes it when the test ends. That it cannot say good-bye then, because its backend
// is gone, is no failure.
func (n *Node) Open(t testing.TB, open adapter.Factory) {
	n.Adapter = open(n)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		_ = n.Adapter.Close(ctx)
	})
}

// ServesAlone checks that n, whose backend is gone, reaches its only socket s, and says that others are missing.
func ServesAlone(t testing.TB, n *Node, s *Socket) {
	t.Helper()
	s.Take()
	if err := n.Adapter.Broadcast(Event("here"), adapter.Options{}); err != nil {
		t.Errorf("Broadcast: %v", err)
	}
	if got := s.Take(); !slices.Contains(got, `2["here"]`) { // what others have sent before may come, too
		t.Errorf("on this node: got %q", got)
	}
	found, err := n.Adapter.FetchSockets(t.Context(), adapter.Options{})
	if err == nil || len(found) != 1 {
		t.Errorf("FetchSockets: %v, %v, want the socket of this node and an error", found, err)
	}
}

// RunUnreachable checks an adapter whose backend is never there: it serves its own socket, says what is wrong with a
// line that has this text in it, and can be closed.
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
