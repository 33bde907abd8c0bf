package adaptertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
)

// RunMadeAnew creates namespaces on a node before earlier ones of the same name have closed. This happens when a client
// connects while the last client of a dynamic namespace leaves. open returns the factory of a node.
func RunMadeAnew(t *testing.T, open func() adapter.Factory) {
	other := NewNode("/")
	other.Open(t, open())
	node := open()
	join := func(i int) (*Node, *Socket) {
		n := NewNode("/")
		n.Open(t, node)
		return n, n.Connect(fmt.Sprint("s", i), "room")
	}
	reached := func(i int, s *Socket) {
		t.Helper()
		for _, rooms := range [][]string{nil, {"room"}} {
			name := fmt.Sprint(i, " ", rooms)
			repeatedly(t, name+" does not arrive", func(_ int, limit time.Duration) bool {
				broadcast(t, other, name, adapter.Options{Rooms: rooms})
				for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
					if slices.Contains(s.Take(), `2["`+name+`"]`) {
						return true
					}
				}
				return false
			})
		}
	}
	old, s := join(0)
	reached(0, s)
	for i := 1; i <= 10; i++ {
		if i%2 == 0 { // a namespace that has not started yet
			old.close(t)
			old, _ = join(i)
		}
		n, s := join(i)
		old.close(t)
		select {
		case <-n.Adapter.(*adapter.Cluster).Ready():
		case <-time.After(Patience):
			t.Fatal("the new namespace does not become ready")
		}
		reached(i, s)
		Eventually(t, func() string {
			if got, err := other.Adapter.ServerCount(t.Context()); got != 2 || err != nil {
				return fmt.Sprintf("ServerCount: %d, %v, want 2", got, err)
			}
			return ""
		})
		for _, n := range []*Node{other, n} {
			Eventually(t, func() string { // one of the counted nodes may be the old one, which is about to leave
				if found, err := n.Adapter.FetchSockets(patient(t), adapter.Options{}); err != nil || len(found) != 1 {
					return fmt.Sprintf("FetchSockets: %v, %v", found, err)
				}
				return ""
			})
		}
		old = n
	}
}
