package adaptertest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/emitter"
)

// The ids of the sockets of RunEmitter, as long as real ones.
const (
	a1    = "a1-34567890123456789"
	b1    = "b1-34567890123456789"
	chat1 = "chat1-67890123456789"
)

// RunEmitter checks all operations of an emitter with two nodes of "/" and one of "/chat". It calls open for each node; a
// factory creates one namespace.
func RunEmitter(t *testing.T, open func() adapter.Factory, e emitter.Emitter) {
	c := &emitting{e: e}
	c.connect(t, open, "/", a1, "a", "é.*>#\\")
	c.connect(t, open, "/", b1, "b", "é.*>#\\")
	c.connect(t, open, "/chat", chat1, "a", "b", "é.*>#\\")
	c.settle(t)
	t.Run("emit", c.testEmit)
	t.Run("flags", c.testFlags)
	t.Run("arguments", c.testArguments)
	t.Run("order", c.testOrder)
	t.Run("server-side", c.testServerSide)
	t.Run("rooms", c.testRooms)
	t.Run("disconnect", c.testDisconnect) // last, because it disconnects the sockets
}

// emitting is a cluster of nodes with one socket each and an emitter.
type emitting struct {
	e       emitter.Emitter
	nodes   []*Node
	sockets []*Socket
}

func (c *emitting) connect(t *testing.T, open func() adapter.Factory, namespace, id string, rooms ...string) {
	n := NewNode(namespace)
	n.Adapter = open()(n)
	t.Cleanup(func() {
		n.close(t)
	})
	c.nodes = append(c.nodes, n)
	c.sockets = append(c.sockets, n.Connect(id, rooms...))
}

func (c *emitting) of(i int) emitter.Emitter { return c.e.Of(c.nodes[i].Name()) }

// text returns an event of node i as its client receives it.
func (c *emitting) text(i int, event string) string {
	if name := c.nodes[i].Name(); name != "/" {
		return "2" + name + `,["` + event + `"]`
	}
	return `2["` + event + `"]`
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settle waits until each socket can be reached through all of its rooms.
func (c *emitting) settle(t *testing.T) {
	t.Helper()
	for i, s := range c.sockets {
		for _, room := range append(s.InRooms(), "") {
			e := c.of(i)
			if room != "" {
				e = e.To(room)
			}
			Eventually(t, func() string {
				must(t, e.Emit("probe"))
				time.Sleep(5 * time.Millisecond)
				if !slices.Contains(s.Take(), c.text(i, "probe")) {
					return fmt.Sprintf("%s is not reached in room %q", s.ID(), room)
				}
				return ""
			})
		}
	}
	c.take(t)
}

// take waits until all events emitted so far have arrived. It returns the events of each socket.
func (c *emitting) take(t *testing.T) map[string][]string {
	t.Helper()
	got := make(map[string][]string)
	fence := fmt.Sprint("fence", time.Now().UnixNano())
	must(t, c.e.Emit(fence))
	must(t, c.e.Of("chat").Emit(fence))
	for i, s := range c.sockets {
		if !s.Reachable() {
			got[s.ID()] = s.Take()
			continue
		}
		Eventually(t, func() string {
			got[s.ID()] = append(got[s.ID()], s.Take()...)
			if !slices.Contains(got[s.ID()], c.text(i, fence)) {
				return "what was emitted does not reach " + s.ID()
			}
			return ""
		})
		got[s.ID()] = slices.DeleteFunc(got[s.ID()], func(text string) bool { return strings.Contains(text, "fence") })
	}
	return got
}

// expect checks that exactly the wanted sockets of "/" received an event, each once, and that no socket received another.
func (c *emitting) expect(t *testing.T, what, event string, ids ...string) {
	t.Helper()
	got := c.take(t)
	for i, s := range c.sockets {
		var want []string
		if slices.Contains(ids, s.ID()) {
			want = []string{c.text(i, event)}
		}
		if !slices.Equal(got[s.ID()], want) {
			t.Errorf("%s: %s got %q, want %q", what, s.ID(), got[s.ID()], want)
		}
	}
}

func (c *emitting) testEmit(t *testing.T) {
	for name, test := range map[string]struct {
		e    emitter.Emitter
		want []string
	}{
		"all":              {c.e, []string{a1, b1}},
		"a room":           {c.e.To("a"), []string{a1}},
		"rooms":            {c.e.To("a").In("b"), []string{a1, b1}},
		"rooms, each once": {c.e.To("a", "é.*>#\\", a1), []string{a1, b1}},
		"a strange name":   {c.e.To("é.*>#\\"), []string{a1, b1}},
		"a socket":         {c.e.To(b1), []string{b1}},
		"nobody":           {c.e.To("nobody"), nil},
		"except":           {c.e.Except("a"), []string{b1}},
		"room and except":  {c.e.To("é.*>#\\").Except("b", "x"), []string{a1}},
		"namespace":        {c.e.Of("chat"), []string{chat1}},
		"room there":       {c.e.Of("/chat").To("a"), []string{chat1}},
		"no namespace":     {c.e.Of("/a").To("a"), nil},
	} {
		must(t, test.e.Emit(name))
		c.expect(t, name, name, test.want...)
	}
}

func (c *emitting) testFlags(t *testing.T) {
	must(t, c.e.Volatile().Compress(false).Emit("flags"))
	for _, s := range c.sockets[:2] {
		Eventually(t, func() string {
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.flags) != 1 || !s.flags[0].Volatile || !s.flags[0].NoCompress {
				return fmt.Sprintf("%s was sent packets with %+v", s.ID(), s.flags)
			}
			return ""
		})
	}
	c.expect(t, "flags", "flags", a1, b1)
}

func (c *emitting) testArguments(t *testing.T) {
	large := strings.Repeat("é", 20_000)
	args := []any{1, -1.5, "ünïcode \U0001f600 \u2028 \"\\", nil, true, map[string]any{"a": []any{[]byte{0, 255}, 2}}, []byte("binary"), large}
	must(t, c.e.Emit("args", args...))
	must(t, c.e.To("a", "b").Emit("text", args[2], large))
	must(t, c.e.To("a", "b").Emit("bytes", bytes.Repeat([]byte{0xff}, 100_000)))
	got := c.take(t)
	for _, s := range c.sockets[:2] {
		texts := got[s.ID()]
		want := []string{
			`52-["args",1,-1.5,"ünïcode 😀 ` + "\u2028" + ` \"\\",null,true,{"a":[{"_placeholder":true,"num":0},2]},{"_placeholder":true,"num":1},"` + large + `"]`,
			`2["text","ünïcode 😀 ` + "\u2028" + ` \"\\","` + large + `"]`,
			`51-["bytes",{"_placeholder":true,"num":0}]`,
		}
		for i := range want {
			if i >= len(texts) || texts[i] != want[i] {
				t.Errorf("%s got %.300q, want %.300q", s.ID(), texts, want[i])
			}
		}
		if a := s.binary(); len(a) != 3 || !bytes.Equal(a[0], []byte{0, 255}) || string(a[1]) != "binary" || len(a[2]) != 100_000 {
			t.Errorf("%s got %d attachments: %.100q", s.ID(), len(a), a)
		}
	}
}

// testOrder emits from several goroutines, alternately to all sockets and to a room.
func (c *emitting) testOrder(t *testing.T) {
	var wg sync.WaitGroup
	const count = 50
	for _, who := range []string{"x", "y"} {
		wg.Go(func() {
			for i := range count {
				e := c.e
				if i%2 > 0 {
					e = e.To("é.*>#\\", a1)
				}
				if err := e.Emit(fmt.Sprintf("%s%03d", who, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := c.take(t)
	for _, s := range c.sockets[:2] {
		texts := got[s.ID()]
		slices.SortStableFunc(texts, func(a, b string) int { return strings.Compare(a[3:4], b[3:4]) })
		if len(texts) != 2*count || !slices.IsSorted(texts) {
			t.Errorf("%s got %q", s.ID(), texts)
		}
	}
}

func (c *emitting) testServerSide(t *testing.T) {
	must(t, c.e.ServerSideEmit("reload", 1, "ü", map[string]any{"a": nil}))
	must(t, c.e.Of("chat").ServerSideEmit("there"))
	for i, want := range []string{`["reload",1,"ü",{"a":null}]`, `["reload",1,"ü",{"a":null}]`, `["there"]`} {
		Eventually(t, func() string {
			if got := c.nodes[i].Emits(); len(got) != 1 || got[0] != want {
				return fmt.Sprintf("node %d got %q, want %q", i, got, want)
			}
			return ""
		})
	}
	c.expect(t, "server-side", "")
}

func (c *emitting) testRooms(t *testing.T) {
	rooms := func(want ...string) {
		t.Helper()
		c.take(t)
		for i, s := range c.sockets {
			Eventually(t, func() string {
				if got := strings.Join(s.InRooms(), " "); got != want[i] {
					return fmt.Sprintf("%s is in %q, want %q", s.ID(), got, want[i])
				}
				return ""
			})
		}
	}
	must(t, c.e.SocketsJoin("x", "y"))
	rooms("a "+a1+" x y é.*>#\\", "b "+b1+" x y é.*>#\\", "a b "+chat1+" é.*>#\\")
	must(t, c.e.To("a").SocketsJoin("z"))
	must(t, c.e.In("x").Except("a").SocketsLeave("x", "y", "unknown"))
	rooms("a "+a1+" x y z é.*>#\\", "b "+b1+" é.*>#\\", "a b "+chat1+" é.*>#\\")
	must(t, c.e.Of("chat").SocketsLeave("a"))
	rooms("a "+a1+" x y z é.*>#\\", "b "+b1+" é.*>#\\", "b "+chat1+" é.*>#\\")
	c.settle(t)
	must(t, c.e.To("z").Emit("joined"))
	c.expect(t, "joined", "joined", a1)
}

func (c *emitting) testDisconnect(t *testing.T) {
	reachable := func(want ...bool) {
		t.Helper()
		for i, s := range c.sockets {
			Eventually(t, func() string {
				if s.Reachable() != want[i] {
					return fmt.Sprintf("%s is connected: %v", s.ID(), !want[i])
				}
				return ""
			})
		}
	}
	must(t, c.e.In("a").DisconnectSockets(false))
	reachable(false, true, true)
	must(t, c.e.Emit("after"))
	c.expect(t, "after", "after", b1)
	must(t, c.e.DisconnectSockets(true))
	reachable(false, false, true)
}
