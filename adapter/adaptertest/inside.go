package adaptertest

import (
	"slices"
	"sync"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
)

// insideNode calls inside from its handler of room events.
type insideNode struct {
	*Node
	inside func()
}

// HandleRoomEvent implements adapter.Namespace.
func (n *insideNode) HandleRoomEvent(e adapter.RoomEvent) {
	n.Node.HandleRoomEvent(e)
	if e.Kind == adapter.RoomJoined && e.Room == "inside" {
		n.inside()
	}
}

// RunInside checks that a node may broadcast, change rooms, and close from a handler of room events caused by another node.
// open returns the factory of a node.
func RunInside(t *testing.T, open func() adapter.Factory) {
	other := NewNode("/")
	other.Open(t, open())
	done := make(chan struct{})
	n := &insideNode{Node: NewNode("/")}
	n.inside = sync.OnceFunc(func() {
		defer close(done)
		a, o := n.Adapter, adapter.Options{Rooms: []string{"inside"}}
		if err := a.Broadcast(Event("x"), adapter.Options{}); err != nil {
			t.Errorf("Broadcast: %v", err)
		}
		_ = a.AddSockets(o, "more")
		_ = a.RemoveSockets(o, "more")
		_ = a.DisconnectSockets(o, false)
		if err := a.Close(patient(t)); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	n.Adapter = open()(n)
	s := n.Connect("s")
	<-n.Adapter.(*adapter.Cluster).Ready()
	Eventually(t, func() string {
		_ = other.Adapter.AddSockets(adapter.Options{}, "inside")
		select {
		case <-done:
			return ""
		default:
			return "the handler does not return"
		}
	})
	if got := s.Take(); !slices.Contains(got, `2["x"]`) || s.Reachable() {
		t.Errorf("got %q, reachable: %v", got, s.Reachable())
	}
}
