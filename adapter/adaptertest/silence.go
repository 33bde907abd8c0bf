package adaptertest

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
)

// wire is a proxy between a node and its backend. It can fall silent, as when the machine at the other end dies: it discards
// all data and keeps the connections open.
type wire struct {
	net.Listener
	to     string
	silent atomic.Bool
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, to: to}
	w.wg.Go(w.serve)
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		for _, conn := range w.conns {
			conn.Close()
		}
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

func (w *wire) serve() {
	for {
		in, err := w.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.to)
		if err != nil {
			in.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, in, out)
		w.mu.Unlock()
		dead := new(atomic.Bool)
		w.wg.Go(func() { w.pass(out, in, dead) })
		w.wg.Go(func() { w.pass(in, out, dead) })
	}
}

// pass copies data until the connection is dead. A connection that was open while the wire was silent stays silent, even
// when new connections work again.
func (w *wire) pass(to, from net.Conn, dead *atomic.Bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if w.silent.Load() {
			dead.Store(true)
		}
		if dead.Load() {
			_, _ = io.Copy(io.Discard, from) // until one end or the test closes it
			return
		}
		if _, writeErr := to.Write(buffer[:n]); writeErr != nil || err != nil {
			from.Close()
			to.Close()
			return
		}
	}
}

// RunSilence silences all connections of a node. It checks that the node serves its own sockets, detects the silence, and
// recovers once new connections work. server is the address of the backend. open returns the factory of a node that connects
// to addr.
func RunSilence(t *testing.T, server string, open func(t *testing.T, addr string, o adapter.ClusterOptions) adapter.Factory) {
	var log Log
	o := adapter.ClusterOptions{Logger: log.Logger(), RequestTimeout: time.Second}
	w := newWire(t, server)
	nodes := [2]*Node{NewNode("/"), NewNode("/")}
	var sockets [2]*Socket
	for i, addr := range []string{server, w.Addr().String()} {
		nodes[i].Open(t, open(t, addr, o))
		sockets[i] = nodes[i].Connect(fmt.Sprint("s", i))
	}
	events := 0
	talk := func() {
		t.Helper()
		for i, n := range nodes {
			for deadline := time.Now().Add(2 * Patience); ; {
				name := fmt.Sprint("event", events)
				events++
				if err := n.Adapter.Broadcast(Event(name), adapter.Options{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond)
				if slices.Contains(sockets[1-i].Take(), `2["`+name+`"]`) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("node %d does not reach the other\n%+v\n%s", i, n.Stats(), log.String())
				}
			}
		}
	}
	talk()

	w.silent.Store(true)
	begun := time.Now()
	ServesAlone(t, nodes[1], sockets[1])
	for deadline := begun.Add(2 * Patience); nodes[1].Stats().Lost == 0; time.Sleep(50 * time.Millisecond) {
		_ = nodes[1].Adapter.Broadcast(Event("lost"), adapter.Options{})
		if time.Now().After(deadline) {
			t.Fatalf("the silence is not detected: %+v\n%s", nodes[1].Stats(), log.String())
		}
	}
	t.Logf("noticed after %v: %+v", time.Since(begun), nodes[1].Stats())
	if s := nodes[0].Stats(); s.Lost > 0 || s.Failed > 0 {
		t.Errorf("the other node: %+v", s)
	}
	w.silent.Store(false)
	talk()
	t.Logf("back after %v", time.Since(begun))
}
