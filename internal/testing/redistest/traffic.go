package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
)

// patience bounds the time until messages arrive again, on a slow or busy machine.
const patience = time.Minute

// Traffic is two nodes that constantly broadcast numbered events to all and to a room.
type Traffic struct {
	nodes [2]*adaptertest.Node
	log   *adaptertest.Log
	stop  chan struct{}
	done  sync.WaitGroup

	mu    sync.Mutex
	flows []*flow
}

// flow holds the broadcasts of one node to one audience.
type flow struct {
	name  string
	from  *adaptertest.Node
	rooms []string
	to    *adaptertest.Socket
	sent  int // number of the next event
	next  int // number after the last received event
	lost  int
	wrong string // first unexpected event
}

// StartTraffic returns once each node receives the other's events. The nodes log to log.
func StartTraffic(t *testing.T, log *adaptertest.Log, nodes [2]*adaptertest.Node) *Traffic {
	t.Helper()
	tr := &Traffic{nodes: nodes, log: log, stop: make(chan struct{})}
	for i, n := range nodes {
		for _, rooms := range [][]string{nil, {"room"}} {
			name := fmt.Sprintf("%d%s", i, strings.Join(rooms, ""))
			tr.flows = append(tr.flows, &flow{name: name, from: n, rooms: rooms, to: nodes[1-i].Connect("s"+name, rooms...)})
		}
	}
	tr.done.Go(tr.run)
	t.Cleanup(func() {
		close(tr.stop)
		tr.done.Wait()
	})
	tr.Await(t)
	tr.Lost()
	return tr
}

func (tr *Traffic) run() {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-tr.stop:
			return
		}
		tr.mu.Lock()
		for _, f := range tr.flows {
			f.turn()
		}
		tr.mu.Unlock()
	}
}

// turn broadcasts one event and checks the received ones.
func (f *flow) turn() {
	_ = f.from.Adapter.Broadcast(adaptertest.Event(fmt.Sprint(f.name, ":", f.sent)), adapter.Options{Rooms: f.rooms})
	f.sent++
	for _, text := range f.to.Take() {
		name, number, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(text, `2["`), `"]`), ":")
		i, err := strconv.Atoi(number)
		switch {
		case name != f.name: // of the other flow, or of the same node
		case err != nil || i < f.next || i >= f.sent:
			if f.wrong == "" {
				f.wrong = fmt.Sprintf("%s after number %d", text, f.next-1)
			}
		default:
			f.lost += i - f.next
			f.next = i + 1
		}
	}
}

// Await waits until each flow has delivered an event broadcast from now on, and checks that no event arrived twice
// or out of order.
func (tr *Traffic) Await(t *testing.T) {
	t.Helper()
	tr.mu.Lock()
	var now []int
	for _, f := range tr.flows {
		now = append(now, f.sent)
	}
	tr.mu.Unlock()
	for i, f := range tr.flows {
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			tr.mu.Lock()
			next, wrong := f.next, f.wrong
			tr.mu.Unlock()
			if wrong != "" {
				t.Fatalf("flow %s: %s", f.name, wrong)
			}
			if next > now[i] {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("flow %s: nothing comes\n%+v\n%+v\n%s", f.name, tr.nodes[0].Stats(), tr.nodes[1].Stats(), tr.log)
			}
		}
	}
}

// Lost returns the number of events of each flow lost since the last call: missing although later ones have
// arrived.
func (tr *Traffic) Lost() map[string]int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	lost := make(map[string]int)
	for _, f := range tr.flows {
		lost[f.name], f.lost = f.lost, 0
	}
	return lost
}
