//go:build unix

package nats_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/nats"
	"github.com/myriad-rt/myriad/internal/testing/natstest"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// fleet is two nodes on one server. Each has a socket in a room, which has the same name on both.
type fleet struct {
	server *natstest.Server
	log    adaptertest.Log
	conns  [2]*natsgo.Conn
	nodes  [2]*adaptertest.Node
	socket [2]*adaptertest.Socket
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{server: natstest.Start(t)}
	f.join(t, f.server.URL(), nil)
	f.awaitTraffic(t)
	return f
}

// join creates both nodes.
func (f *fleet) join(t *testing.T, url string, change func(*nats.Options), more ...natsgo.Option) {
	for i := range f.nodes {
		f.joinOne(t, i, url, change, more...)
	}
}

func (f *fleet) joinOne(t *testing.T, i int, url string, change func(*nats.Options), more ...natsgo.Option) {
	o := &nats.Options{ClusterOptions: adapter.ClusterOptions{
		Logger: f.log.Logger(), MaxQueuedBytes: 100_000, RequestTimeout: time.Second,
		Heartbeat: &adapter.HeartbeatOptions{Interval: 100 * time.Millisecond, Timeout: 2 * time.Second},
	}}
	if change != nil {
		change(o)
	}
	f.conns[i] = connect(t, url, more...)
	n := adaptertest.NewNode("/")
	n.Open(t, nats.New(f.conns[i], o))
	f.nodes[i], f.socket[i] = n, n.Connect(fmt.Sprint("s", i), "room")
}

// awaitTraffic waits until broadcasts of each node, to all and to the room, reach the other node and both nodes count each
// other.
func (f *fleet) awaitTraffic(t *testing.T) {
	t.Helper()
	for i, n := range f.nodes {
		for _, rooms := range [][]string{nil, {"room"}} {
			adaptertest.Eventually(t, func() string {
				_ = n.Adapter.Broadcast(adaptertest.Event("probe"), adapter.Options{Rooms: rooms})
				time.Sleep(5 * time.Millisecond)
				if len(f.socket[1-i].Take()) == 0 {
					return fmt.Sprintf("node %d does not reach %q of the other\n%s", i, rooms, f.log.String())
				}
				return ""
			})
		}
		adaptertest.Eventually(t, func() string {
			if got, err := n.Adapter.ServerCount(t.Context()); got != 2 || err != nil {
				return fmt.Sprintf("ServerCount: %d, %v\n%s", got, err, f.log.String())
			}
			return ""
		})
	}
	f.drain(t)
}

// drain waits until all broadcasts so far have arrived, and discards them.
func (f *fleet) drain(t *testing.T) {
	t.Helper()
	for i, n := range f.nodes {
		name := fmt.Sprintf("drain-%d-%d", i, time.Now().UnixNano())
		_ = n.Adapter.Broadcast(adaptertest.Event(name), adapter.Options{})
		adaptertest.Eventually(t, func() string {
			if !slices.Contains(f.socket[1-i].Take(), `2["`+name+`"]`) {
				return fmt.Sprintf("what node %d broadcasts does not arrive\n%s", i, f.log.String())
			}
			return ""
		})
	}
	for _, s := range f.socket {
		s.Take()
	}
}

func (f *fleet) awaitLog(t *testing.T, line string) {
	t.Helper()
	adaptertest.Eventually(t, func() string {
		if !strings.Contains(f.log.String(), line) {
			return fmt.Sprintf("no line %q in the log:\n%s", line, f.log.String())
		}
		return ""
	})
}

// servesItself checks that the first node serves its own socket.
func (f *fleet) servesItself(t *testing.T) {
	t.Helper()
	f.socket[0].Take()
	if err := f.nodes[0].Adapter.Broadcast(adaptertest.Event("here"), adapter.Options{}); err != nil {
		t.Errorf("Broadcast: %v", err)
	}
	if got := f.socket[0].Take(); !slices.Contains(got, `2["here"]`) {
		t.Errorf("on this node: got %q", got)
	}
}

// TestRestart kills the server and starts it again.
func TestRestart(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.server.Kill()
	f.awaitLoss(t)
	f.servesItself(t)
	adaptertest.Eventually(t, func() string {
		if got, _ := f.nodes[0].Adapter.ServerCount(t.Context()); got != 1 {
			return fmt.Sprintf("%d nodes count while the server is gone", got)
		}
		return ""
	})
	f.server.Run()
	f.awaitTraffic(t)
	f.awaitLog(t, "subscriptions lost")
	f.awaitLog(t, "subscriptions restored")
	f.awaitLog(t, "node has fallen silent")
}

// awaitLoss waits until the first node has detected the loss of its connection.
func (f *fleet) awaitLoss(t *testing.T) {
	t.Helper()
	adaptertest.Eventually(t, func() string {
		if s := f.nodes[0].Stats(); s.Lost == 0 {
			return fmt.Sprintf("the connection should be lost: %+v", s)
		}
		return ""
	})
}

// TestAway disconnects one node from the server for a while. Its own messages are lost or buffered, depending on the options
// of its connection. It misses messages of other nodes.
func TestAway(t *testing.T) {
	for name, test := range map[string]struct {
		buffer int
		kept   bool
	}{"lost": {-1, false}, "kept": {1 << 20, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fleet{server: natstest.Start(t)}
			proxy := newCutter(t, f.server.Addr)
			long := func(o *nats.Options) { o.Heartbeat = &adapter.HeartbeatOptions{Timeout: time.Hour} }
			f.joinOne(t, 0, "nats://"+proxy.Addr().String(), long, natsgo.ReconnectBufSize(test.buffer))
			f.joinOne(t, 1, f.server.URL(), long)
			f.awaitTraffic(t)
			proxy.refuse(true)
			f.awaitLoss(t)
			f.servesItself(t)
			_ = f.nodes[1].Adapter.Broadcast(adaptertest.Event("missed"), adapter.Options{})
			found, err := f.nodes[0].Adapter.FetchSockets(t.Context(), adapter.Options{})
			if !errors.Is(err, adapter.ErrTimeout) || len(found) != 1 {
				t.Errorf("FetchSockets: %v, %v, want the socket of this node and ErrTimeout", found, err)
			}
			if failed := f.nodes[0].Stats().Failed; (failed == 0) != test.kept {
				t.Errorf("%d messages failed", failed)
			}
			proxy.refuse(false)
			arrived := false
			adaptertest.Eventually(t, func() string {
				_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("now"), adapter.Options{})
				time.Sleep(5 * time.Millisecond)
				got := f.socket[1].Take()
				arrived = arrived || slices.Contains(got, `2["here"]`)
				if !slices.Contains(got, `2["now"]`) {
					return "the node does not come back"
				}
				return ""
			})
			if arrived != test.kept {
				t.Errorf("what was broadcast meanwhile has arrived: %v", arrived)
			}
			if got := f.socket[0].Take(); slices.Contains(got, `2["missed"]`) {
				t.Error("what others broadcast meanwhile has arrived")
			}
			f.awaitTraffic(t)
		})
	}
}

// TestHang suspends the server with its connections open.
func TestHang(t *testing.T) {
	f := &fleet{server: natstest.Start(t)}
	f.join(t, f.server.URL(), nil, natsgo.PingInterval(500*time.Millisecond), natsgo.FlusherTimeout(time.Second))
	f.awaitTraffic(t)
	f.server.Hang()
	resume := sync.OnceFunc(f.server.Resume)
	defer resume()
	f.servesItself(t)
	const count = 2000
	big := adaptertest.Event(strings.Repeat("x", 20_000)) // more than the kernel buffers
	for range count {
		if err := f.nodes[0].Adapter.Broadcast(big, adapter.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(f.socket[0].Take()); got != count {
		t.Errorf("on this node: %d events, want %d", got, count)
	}
	if s := f.nodes[0].Stats(); s.QueuedBytes > 100_000 || s.Dropped == 0 {
		t.Errorf("while the server hangs: %+v", s)
	}
	f.awaitLog(t, "message to other nodes dropped")
	if _, err := f.nodes[0].Adapter.FetchSockets(t.Context(), adapter.Options{}); err == nil && f.nodes[0].Stats().Nodes > 0 {
		t.Error("FetchSockets: no error")
	}
	adaptertest.Eventually(t, func() string {
		if f.nodes[0].Stats().Lost == 0 {
			return "the silent connection is not given up"
		}
		return ""
	})
	resume()
	f.awaitTraffic(t)
}

// TestEmitterHang suspends the server while an emitter writes more than the kernel buffers.
func TestEmitterHang(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	// Neither the client's own time-out nor its pings end the wait.
	conn := connect(t, server.URL(), natsgo.FlusherTimeout(time.Hour), natsgo.PingInterval(time.Hour))
	e := nats.NewEmitter(conn, nil)
	if err := e.Emit("before"); err != nil {
		t.Fatal(err)
	}
	server.Hang()
	resume := sync.OnceFunc(server.Resume)
	defer resume()
	data := make([]byte, 1<<20)
	for range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := e.WithContext(ctx).Emit("x", data); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Emit: %v", err)
		}
		cancel()
	}
	resume()
	if err := e.Emit("after"); err != nil {
		t.Errorf("when the server works again: %v", err)
	}
}

// TestStartWithoutServer creates nodes before the server runs.
func TestStartWithoutServer(t *testing.T) {
	t.Parallel()
	f := &fleet{server: natstest.Start(t)}
	f.server.Kill()
	f.join(t, f.server.URL(), nil)
	f.servesItself(t)
	if err := f.nodes[0].Adapter.Broadcast(adaptertest.Event(strings.Repeat("x", 200_000)), adapter.Options{}); err != nil {
		t.Error(err)
	}
	f.server.Run()
	f.awaitTraffic(t)
	if s := f.nodes[0].Stats(); s.Failed > 0 || s.Lost > 0 {
		t.Errorf("%+v", s)
	}
}

// TestClosedConnection closes a connection in use by an adapter.
func TestClosedConnection(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.conns[0].Close()
	f.awaitLog(t, "connection closed permanently")
	f.servesItself(t)
	adaptertest.Eventually(t, func() string {
		if s := f.nodes[0].Stats(); s.Failed == 0 || s.Lost != 1 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	f.nodes[0].Connect("new", "another room")
	if err := f.nodes[0].Adapter.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestNodeDies ends a node without a farewell while another node waits for its answer.
func TestNodeDies(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	answered := make(chan error, 1)
	f.nodes[1].Mute.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
	defer cancel()
	go func() {
		answers, err := f.nodes[0].Adapter.ServerSideEmitWithAck(ctx, parser.Args{Data: []byte(`["x"]`)})
		if len(answers) > 0 {
			err = errors.Join(err, fmt.Errorf("%d answers", len(answers)))
		}
		answered <- err
	}()
	adaptertest.Eventually(t, func() string {
		if len(f.nodes[1].Emits()) == 0 {
			return "the event does not arrive"
		}
		return ""
	})
	f.conns[1].Close() // as when the process is killed
	if err := <-answered; err != nil {
		t.Errorf("ServerSideEmitWithAck: %v, want no error when the node is given up", err)
	}
	if got, _ := f.nodes[0].Adapter.ServerCount(t.Context()); got != 1 {
		t.Errorf("%d nodes count", got)
	}
	f.awaitLog(t, "node has fallen silent")
}

// TestGarbage publishes malformed messages on every subject.
func TestGarbage(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	uid := f.nodes[0].Stats().UID
	part := func(number, total, offset byte, data string) string {
		return "\x00stranger\x00\x00\x00" + string(number) + "\x00\x00\x00" + string(total) + "\x00\x00\x00" + string(offset) + data
	}
	before := f.nodes[0].Stats()
	payloads := []string{
		"", "\x00", "\x00stranger", part(1, 4, 0, ""), part(1, 4, 3, "too long"), "\xc1garbage", "{", `{"type":3}`,
		"\x00stranger\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00\x00\x00x", part(2, 8, 0, "abc") + "",
	}
	malformed := uint64(len(payloads) - 1) // the last one is a valid first part
	subjects := []string{"myriad.%.all", "myriad.%.node." + uid, "myriad.%.room.room"}
	for _, subject := range subjects {
		for _, payload := range payloads {
			if err := f.conns[1].Publish(subject, []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// First a part is missing, then a part belongs to another message.
	for _, p := range []string{part(2, 8, 4, "efgh"), part(3, 8, 0, "abc"), part(4, 8, 3, "d"), part(5, 4, 2, "begun elsewhere")[:23]} {
		if err := f.conns[1].Publish(subjects[0], []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	want := before.Malformed + malformed*3 + 2
	adaptertest.Eventually(t, func() string {
		if got := f.nodes[0].Stats().Malformed; got != want {
			return fmt.Sprintf("%d malformed messages, want %d\n%s", got, want, f.log.String())
		}
		return ""
	})
	f.awaitLog(t, "message of another node ignored")
	f.awaitTraffic(t)
	if got := f.nodes[0].Stats().Malformed; got != want {
		t.Errorf("%d malformed messages, want %d", got, want)
	}
}

// cutter is a proxy that cuts connections after a number of bytes in one direction.
type cutter struct {
	net.Listener
	to string
	wg sync.WaitGroup

	mu      sync.Mutex
	left    int // bytes to pass; negative means no limit
	refuses bool
	conns   map[net.Conn]struct{}
}

func newCutter(t *testing.T, to string) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, to: to, left: -1, conns: map[net.Conn]struct{}{}}
	c.wg.Go(c.serve)
	t.Cleanup(func() {
		l.Close()
		c.refuse(true)
		c.wg.Wait()
	})
	return c
}

func (c *cutter) serve() {
	for {
		in, err := c.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			in.Close()
			continue
		}
		c.mu.Lock()
		c.conns[in], c.conns[out] = struct{}{}, struct{}{}
		if c.refuses {
			c.cutLocked()
		}
		c.mu.Unlock()
		c.wg.Go(func() { c.pass(out, in, true) })
		c.wg.Go(func() { c.pass(in, out, false) })
	}
}

func (c *cutter) pass(to, from net.Conn, counted bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if counted {
			n, err = c.take(n, err)
		}
		if _, writeErr := to.Write(buffer[:n]); writeErr != nil || err != nil {
			return
		}
	}
}

// take returns the number of bytes to pass, out of n.
func (c *cutter) take(n int, err error) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left < 0 {
		return n, err
	}
	if n < c.left {
		c.left -= n
		return n, err
	}
	n, c.left = c.left, -1
	return n, io.ErrUnexpectedEOF
}

// after passes the next n bytes and then cuts the connection.
func (c *cutter) after(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = n
}

// refuse cuts all connections. It also cuts new ones while on is true.
func (c *cutter) refuse(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuses = on
	c.cutLocked()
}

func (c *cutter) cutLocked() {
	for conn := range c.conns {
		conn.Close()
	}
	clear(c.conns)
}

// TestCut cuts the connection of a node at many places in a message, and between the parts of a message.
func TestCut(t *testing.T) {
	for name, size := range map[string]int{"one message": 5_000, "parts": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fleet{server: natstest.Start(t)}
			proxy := newCutter(t, f.server.Addr)
			f.join(t, "nats://"+proxy.Addr().String(), func(o *nats.Options) { o.MaxQueuedBytes = 64 << 20 }, natsgo.ReconnectBufSize(64<<20))
			f.awaitTraffic(t)
			big := adaptertest.Event(strings.Repeat("x", size))
			want := "2" + string(big.Data)
			for _, n := range []int{1, 30, 100, size / 2, size - 50} {
				f.socket[1].Take()
				before := f.nodes[0].Stats().Lost + f.nodes[1].Stats().Lost
				proxy.after(n)
				if err := f.nodes[0].Adapter.Broadcast(big, adapter.Options{}); err != nil {
					t.Fatal(err)
				}
				adaptertest.Eventually(t, func() string {
					if f.nodes[0].Stats().Lost+f.nodes[1].Stats().Lost == before {
						return fmt.Sprintf("cut after %d bytes: nobody notices\n%s", n, f.log.String())
					}
					return ""
				})
				_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("after"), adapter.Options{})
				count := 0
				adaptertest.Eventually(t, func() string {
					for _, got := range f.socket[1].Take() {
						switch got {
						case want:
							count++
						case `2["after"]`:
							return ""
						default:
							t.Errorf("cut after %d bytes: got %d bytes that nobody sent", n, len(got))
						}
					}
					_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("after"), adapter.Options{})
					return fmt.Sprintf("cut after %d bytes: nothing arrives any more\n%s", n, f.log.String())
				})
				if count > 1 {
					t.Errorf("cut after %d bytes: the message came %d times", n, count)
				}
				f.awaitTraffic(t)
			}
		})
	}
}

// slowNode is slow to encode packets for its sockets.
type slowNode struct {
	*adaptertest.Node
	gate chan struct{}
}

func (n *slowNode) Encode(p *parser.Packet, f adapter.Flags) (*transport.Message, error) {
	<-n.gate
	return n.Node.Encode(p, f)
}

// TestSlow blocks delivery in one namespace.
func TestSlow(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	adaptertest.RunSlow(t, false, func(o adapter.ClusterOptions) adapter.Factory {
		return nats.New(connect(t, server.URL()), &nats.Options{ClusterOptions: o})
	})
}

// TestNamespaceMadeAnew replaces a namespace that has received messages but not handled them yet.
func TestNamespaceMadeAnew(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	open := nats.New(connect(t, f.server.URL()), nil)
	gate := make(chan struct{})
	old := &slowNode{adaptertest.NewNode("/"), gate}
	old.Adapter = open(old)
	old.Connect("old")
	found := func(what string) {
		t.Helper()
		adaptertest.Eventually(t, func() string {
			if f.nodes[0].Stats().Nodes != 2 {
				return what + " is not found"
			}
			return ""
		})
	}
	found("the node")
	f.drain(t)
	_ = f.nodes[0].Adapter.Broadcast(adaptertest.Event("x"), adapter.Options{}) // old waits for it
	adaptertest.Eventually(t, func() string {
		if len(f.socket[1].Take()) == 0 {
			return "the event does not arrive"
		}
		return ""
	})
	for range 10 {
		_ = old.Adapter.ServerSideEmit(parser.Args{Data: []byte(`["x"]`)})
	}
	adaptertest.Eventually(t, func() string {
		if got := f.nodes[0].Emits(); len(got) != 10 {
			return fmt.Sprintf("%d server-side events arrive", len(got))
		}
		return ""
	})
	time.Sleep(50 * time.Millisecond) // until old has received them, too, after the event
	if err := old.Adapter.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	n := adaptertest.NewNode("/")
	n.Open(t, open)
	s := n.Connect("s")
	found("the new node")
	close(gate)
	for i, other := range f.nodes {
		adaptertest.Eventually(t, func() string {
			_ = other.Adapter.Broadcast(adaptertest.Event(fmt.Sprint("later", i)), adapter.Options{})
			time.Sleep(5 * time.Millisecond)
			if !slices.Contains(s.Take(), fmt.Sprintf(`2["later%d"]`, i)) {
				return "the new node is not reached"
			}
			return ""
		})
	}
	if got := n.Stats().Nodes; got != 2 {
		t.Errorf("the new node knows %d others, want 2", got)
	}
}
