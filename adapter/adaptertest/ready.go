package adaptertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
)

// RunReady opens nodes while another node broadcasts and checks that ready nodes miss no event. The backend's server is down
// when one of them starts. open returns the factory of a node.
func RunReady(t *testing.T, server interface {
	Kill()
	Run()
}, open func() adapter.Factory) {
	join := func(id string) (*Node, *Socket) {
		n := NewNode("/")
		n.Open(t, open())
		return n, n.Connect(id)
	}
	from, _ := join("from")
	_, witness := join("witness")
	for i := range 20 {
		if i == 10 {
			server.Kill()
		}
		n, s := join("s")
		ready := n.Adapter.(*adapter.Cluster).Ready()
		if i == 10 {
			select {
			case <-ready:
				t.Error("ready without a server")
			default:
			}
			server.Run()
			Eventually(t, func() string {
				broadcast(t, from, "probe", adapter.Options{})
				time.Sleep(5 * time.Millisecond)
				if !slices.Contains(witness.Take(), `2["probe"]`) {
					return "broadcasts do not arrive"
				}
				return ""
			})
		}
		select {
		case <-ready:
		case <-time.After(Patience):
			t.Fatal("a node does not become ready")
		}
		name := fmt.Sprint("event", i)
		Eventually(t, func() string {
			before := from.Stats().Failed // the pool may still hold broken connections
			broadcast(t, from, name, adapter.Options{})
			Eventually(t, func() string {
				if slices.Contains(s.Take(), `2["`+name+`"]`) || from.Stats().Failed > before {
					return ""
				}
				return name + " does not arrive"
			})
			if from.Stats().Failed > before {
				return "nothing can be published"
			}
			return ""
		})
		if err := n.Adapter.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
