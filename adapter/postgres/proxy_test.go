//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
)

// proxy is a proxy between a node and PostgreSQL.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup
	left     atomic.Int64 // bytes to PostgreSQL until connections are cut, if not negative
	silent   atomic.Bool  // nothing is passed on

	mu    sync.Mutex
	conns []net.Conn
}

// through starts a proxy and returns the connection string that leads through it.
func (p *proxy) through(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p.target = u.Host
	p.left.Store(-1)
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.running.Go(func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.target)
			if err != nil {
				conn.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn, server)
			p.mu.Unlock()
			p.running.Go(func() { p.pass(server, conn, true) })
			p.running.Go(func() { p.pass(conn, server, false) })
		}
	})
	t.Cleanup(func() {
		p.listener.Close()
		p.cut()
		p.running.Wait()
	})
	u.Host = p.listener.Addr().String()
	return u.String()
}

func (p *proxy) pass(to, from net.Conn, up bool) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if up && p.left.Load() >= 0 && p.left.Add(int64(-n)) < 0 {
			n = max(n-1, 0)
			p.left.Store(-1)
			_, _ = to.Write(buffer[:n])
			p.cut()
			return
		}
		if p.silent.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		conn.Close()
	}
	p.conns = nil
}

// testConnectionLostInMessage cuts the connections of a node in the middle of a long message.
func testConnectionLostInMessage(t *testing.T, server *pgtest.Server) {
	var p proxy
	f := newFleet(t, server, func(i int, url string) string {
		if i == 0 {
			return p.through(t, url)
		}
		return url
	})
	before := f.nodes[0].Stats()
	p.left.Store(200_000)
	_ = f.nodes[0].Adapter.Broadcast(binaryEvent("long", make([]byte, 400_000)), adapter.Options{})
	adaptertest.Eventually(t, func() string {
		if s := f.nodes[0].Stats(); s.Failed == before.Failed || s.Lost != 1 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	adaptertest.Eventually(t, func() string {
		_ = f.nodes[0].Adapter.Broadcast(binaryEvent("next", make([]byte, 400_000)), adapter.Options{})
		time.Sleep(10 * time.Millisecond)
		for _, text := range f.socket[1].Take() {
			if strings.Contains(text, "next") {
				return ""
			}
			if strings.Contains(text, "long") {
				t.Error("what was cut off arrives")
			}
		}
		return "the next message does not arrive"
	})
}

// testNodeGone makes a node vanish without a farewell during a request.
func testNodeGone(t *testing.T, server *pgtest.Server) {
	var p proxy
	f := newFleet(t, server, func(i int, url string) string {
		if i == 1 {
			return p.through(t, url)
		}
		return url
	})
	short := f.o
	short.Heartbeat = &adapter.HeartbeatOptions{Interval: 100 * time.Millisecond, Timeout: 3 * time.Second}
	f.o = short
	third := f.join(t, f.pool(t, f.url), "/")
	third.Connect("third")
	awaitNodes(t, third, 3)
	p.silent.Store(true)
	// The other node's answer arrives. The request ends as soon as the vanished node no longer counts.
	ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
	defer cancel()
	found, err := third.Adapter.FetchSockets(ctx, adapter.Options{})
	if err != nil || len(found) != 2 {
		t.Errorf("FetchSockets: %v, %v", found, err)
	}
	if text := f.log.String(); !strings.Contains(text, "node has fallen silent") {
		t.Errorf("the node is not waited for\n%s", text)
	}
	if n, _ := third.Adapter.ServerCount(t.Context()); n != 2 {
		t.Errorf("ServerCount: %d, want 2", n)
	}
	p.silent.Store(false)
	p.cut()
	awaitNodes(t, third, 3)
}
