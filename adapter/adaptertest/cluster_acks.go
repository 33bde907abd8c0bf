package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// heard waits until node i has received all answers that other nodes have sent so far.
func (c *cluster) heard(t *testing.T, i int) {
	t.Helper()
	if _, err := c.nodes[i].Adapter.FetchSockets(patient(t), adapter.Options{}); err != nil {
		t.Errorf("FetchSockets: %v", err)
	}
}

// ask broadcasts from node i and returns the answers, sorted.
func (c *cluster) ask(t *testing.T, i int, o adapter.Options) ([]string, error) {
	t.Helper()
	answers, err := c.nodes[i].Adapter.BroadcastWithAck(patient(t), Event("x"), o)
	if answers == nil {
		t.Error("BroadcastWithAck returned nil instead of an empty list")
	}
	return texts(answers), err
}

func texts(answers []parser.Args) []string {
	list := []string{}
	for _, a := range answers {
		list = append(list, string(a.Data))
	}
	slices.Sort(list)
	return list
}

func testClusterAcks(t *testing.T, c *cluster) {
	var all []string
	for i := range c.nodes {
		for k := range 2 {
			s := c.connect(i, fmt.Sprintf("s%d-%d", i, k), fmt.Sprint("node", i))
			s.Reply = func() parser.Args { return parser.Args{Data: []byte(`["` + s.id + `"]`)} }
			all = append(all, `["`+s.id+`"]`)
		}
	}
	c.settle(t)
	for i := range c.nodes {
		got, err := c.ask(t, i, adapter.Options{})
		if err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		equal(t, fmt.Sprintf("node %d", i), got, all)
	}
	got, err := c.ask(t, 0, adapter.Options{Rooms: []string{"node1"}})
	if err != nil {
		t.Error(err)
	}
	equal(t, "a room elsewhere", got, []string{`["s1-0"]`, `["s1-1"]`})
	got, err = c.ask(t, 0, adapter.Options{Rooms: []string{"node0", "node1", "s0-0", "s1-0", "s1-1"}})
	if err != nil {
		t.Error(err)
	}
	equal(t, "sockets in several of the rooms", got, []string{`["s0-0"]`, `["s0-1"]`, `["s1-0"]`, `["s1-1"]`})
	got, err = c.ask(t, 0, adapter.Options{Rooms: []string{"nobody"}})
	if err != nil {
		t.Error(err)
	}
	equal(t, "nobody", got, []string{})
	got, err = c.ask(t, 0, adapter.Options{Rooms: []string{"s1-1"}, Flags: adapter.Flags{ExpectSingleResponse: true}})
	if err != nil {
		t.Error(err)
	}
	equal(t, "one socket", got, []string{`["s1-1"]`})

	c.sockets[2].Reply = nil // on node 1
	replied, awaitReplies := count(t, "answers")
	for _, s := range c.sockets {
		s.Replied = replied
	}
	got, err = atDeadline(t, func(ctx context.Context) ([]parser.Args, error) {
		return c.nodes[0].Adapter.BroadcastWithAck(ctx, Event("x"), adapter.Options{})
	}, func() {
		awaitReplies(len(all) - 1)
		c.heard(t, 0)
	})
	if !errors.Is(err, adapter.ErrTimeout) {
		t.Errorf("one does not answer: %v, want ErrTimeout", err)
	}
	equal(t, "one does not answer", got, slices.Delete(slices.Clone(all), 2, 3))

	if len(c.nodes) > 2 {
		return // takes a second and adds nothing
	}
	s := c.sockets[2]
	s.Take()
	before := s.Pending()
	o := adapter.Options{Rooms: []string{s.id}, Flags: adapter.Flags{Timeout: 200 * time.Millisecond}}
	if _, err = c.ask(t, 0, o); !errors.Is(err, adapter.ErrTimeout) {
		t.Errorf("no answer in time: %v, want ErrTimeout", err)
	}
	Eventually(t, func() string {
		if len(s.Take()) == 0 {
			return "the event does not arrive"
		}
		return ""
	})
	Eventually(t, func() string {
		if n := s.Pending(); n > before {
			return fmt.Sprintf("%d acknowledgements are still waited for on the other node", n)
		}
		return ""
	})
}

func testClusterBinaryAcks(t *testing.T, c *cluster) {
	s := c.connect(1, "s")
	c.settle(t)
	ask := func(answer ...any) parser.Args {
		t.Helper()
		s.Reply = func() parser.Args {
			data, attachments, err := parser.AppendArgs(nil, nil, answer...)
			if err != nil {
				t.Error(err)
			}
			return parser.Args{Data: data, Attachments: attachments}
		}
		answers, err := c.nodes[0].Adapter.BroadcastWithAck(patient(t), Event("x"), adapter.Options{})
		if err != nil || len(answers) != 1 {
			t.Fatalf("got %v, %v", answers, err)
		}
		return answers[0]
	}
	if b, ok := ask([]byte{9, 8}).At(0).Binary(); !ok || !slices.Equal(b, []byte{9, 8}) {
		t.Errorf("binary: %v, %v", b, ok)
	}
	// Only the first argument is passed on.
	if got := ask("first", []byte{1}); string(got.Data) != `["first"]` || len(got.Attachments) > 0 {
		t.Errorf("several arguments: %s with %v", got.Data, got.Attachments)
	}
	if got := ask(); got.Len() != 0 {
		t.Errorf("no argument: %s", got.Data)
	}
	if got := ask(nil); string(got.Data) != `[null]` {
		t.Errorf("null: %s", got.Data)
	}
}

func testClusterServerSideEmit(t *testing.T, c *cluster) {
	var want []string
	for i := range 100 {
		data := fmt.Appendf(nil, `["sse",%d,{"a":[true]}]`, i)
		want = append(want, string(data))
		if err := c.nodes[0].Adapter.ServerSideEmit(parser.Args{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range c.nodes {
		if i == 0 {
			continue
		}
		Eventually(t, func() string {
			if got := n.Emits(); len(got) < len(want) {
				return fmt.Sprintf("node %d got %d events, want %d", i, len(got), len(want))
			}
			return ""
		})
		equal(t, fmt.Sprint("node ", i), n.Emits(), want)
	}
	if got := c.nodes[0].Emits(); len(got) > 0 {
		t.Errorf("the node that emitted got %q", got)
	}
}

func testClusterServerSideAcks(t *testing.T, c *cluster) {
	answers, err := c.nodes[0].Adapter.ServerSideEmitWithAck(patient(t), parser.Args{Data: []byte(`["sse",{"q":1}]`)})
	if err != nil {
		t.Error(err)
	}
	// A node answers with the first argument, which is the name of the event.
	equal(t, "answers", texts(answers), slices.Repeat([]string{`["sse"]`}, len(c.nodes)-1))

	c.nodes[1].Mute.Store(true)
	got, err := atDeadline(t, func(ctx context.Context) ([]parser.Args, error) {
		answers, err := c.nodes[0].Adapter.ServerSideEmitWithAck(ctx, parser.Args{Data: []byte(`["sse"]`)})
		if answers == nil {
			t.Error("ServerSideEmitWithAck returned nil instead of an empty list")
		}
		return answers, err
	}, func() {
		for _, n := range c.nodes[1:] {
			Eventually(t, func() string {
				if got := n.Emits(); len(got) < 2 {
					return fmt.Sprintf("%q has come", got)
				}
				return ""
			})
		}
		c.heard(t, 0)
	})
	if !errors.Is(err, adapter.ErrTimeout) {
		t.Errorf("one node does not answer: %v, want ErrTimeout", err)
	}
	equal(t, "answers without one", got, slices.Repeat([]string{`["sse"]`}, len(c.nodes)-2))
}
