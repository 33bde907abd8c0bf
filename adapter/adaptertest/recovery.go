package adaptertest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// RunRecovery checks the contract of adapters that restore sessions, on clusters of the given sizes. open is the same as for
// RunCluster. Namespace.Recovery enables recovery.
func RunRecovery(t *testing.T, open func(t *testing.T) adapter.Factory, sizes ...int) {
	tests := map[string]func(*testing.T, *cluster){
		"offsets":         testRecoveryOffsets,
		"missed":          testRecoveryMissed,
		"not to be found": testRecoveryNotFound,
		"no data":         testRecoveryNoData,
		"traffic":         testRecoveryTraffic,
		"one order":       testRecoveryOneOrder,
		"nested emits":    testRecoveryNestedEmits,
		"missed at once":  testRecoveryMissedAtOnce,
	}
	for _, size := range sizes {
		for name, test := range tests {
			t.Run(fmt.Sprintf("%d nodes/%s", size, name), func(t *testing.T) {
				c := &cluster{open: open(t), kept: new(adapter.RecoveryOptions)}
				for range size {
					c.join(t, "/")
				}
				c.awaitNodes(t, "/", size)
				for i, n := range c.nodes {
					if !n.Adapter.Recovers() {
						t.Fatal("an adapter does not recover")
					}
					c.awaitOffset(t, i)
				}
				test(t, c)
			})
		}
	}
}

// awaitOffset waits until broadcasts of node i have offsets on all nodes.
func (c *cluster) awaitOffset(t *testing.T, i int) {
	t.Helper()
	sockets := make([]*Socket, len(c.nodes))
	for k, n := range c.nodes {
		sockets[k] = n.Connect(fmt.Sprint("probe", k))
		defer sockets[k].Disconnect(false)
	}
	repeatedly(t, fmt.Sprintf("what node %d broadcasts does not get offsets", i), func(try int, limit time.Duration) bool {
		name := fmt.Sprint("probe ", try)
		broadcast(t, c.nodes[i], name, adapter.Options{})
		// After the last of them with its offset, no other arrives.
		for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if !slices.ContainsFunc(sockets, func(s *Socket) bool {
				got, offset := split(s.last())
				return got != name || offset == ""
			}) {
				return true
			}
		}
		return false
	})
}

// last returns the last text sent to the socket.
func (s *Socket) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.received) == 0 {
		return ""
	}
	return s.received[len(s.received)-1]
}

// split returns the name and, if it is a string, the last argument of an event as sent to a client.
func split(text string) (name, last string) {
	var args []json.RawMessage
	if err := json.Unmarshal([]byte(text[max(strings.IndexByte(text, '['), 0):]), &args); err != nil || len(args) == 0 {
		return "", ""
	}
	_ = json.Unmarshal(args[0], &name)
	if len(args) > 1 {
		_ = json.Unmarshal(args[len(args)-1], &last) // remains empty if it is not a string
	}
	return name, last
}

func offsetOf(text string) string {
	_, offset := split(text)
	return offset
}

func testRecoveryOffsets(t *testing.T, c *cluster) {
	for i := range c.nodes {
		s := c.connect(i, fmt.Sprint("s", i), "room")
		s.Reply = func() parser.Args { return parser.Args{Data: []byte("[]")} }
	}
	for i, n := range c.nodes {
		broadcast(t, n, "all", adapter.Options{})
		broadcast(t, n, "room", adapter.Options{Rooms: []string{"room"}})
		data, attachments, err := parser.AppendEvent(nil, nil, "binary", []byte{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		p := &parser.Packet{Type: parser.Event, Namespace: "/", Data: data, Attachments: attachments}
		if err := n.Adapter.Broadcast(p, adapter.Options{}); err != nil {
			t.Error(err)
		}
		broadcast(t, n, "volatile", adapter.Options{Flags: adapter.Flags{Volatile: true}})
		ctx, cancel := context.WithTimeout(t.Context(), Patience)
		if _, err := n.Adapter.BroadcastWithAck(ctx, Event("ack"), adapter.Options{}); err != nil {
			t.Error(err)
		}
		cancel()
		broadcast(t, n, "end", adapter.Options{})
		want := make(map[string]string)
		for k := range c.sockets {
			s := c.sockets[(i+k)%len(c.sockets)] // the broadcasting node's socket comes first
			var got []string
			Eventually(t, func() string {
				got = append(got, s.Take()...)
				if len(got) < 6 {
					return fmt.Sprintf("node %d to %s: got %q", i, s.id, got)
				}
				return ""
			})
			names := ""
			for _, text := range got {
				name, offset := split(text)
				names += name + " "
				if has := offset != ""; has == (name == "volatile" || name == "ack") {
					t.Errorf("node %d to %s: got %q", i, s.id, text)
				}
				if k == 0 {
					want[name] = offset
				} else if offset != want[name] {
					t.Errorf("node %d to %s: offset of %q is %q, want %q", i, s.id, name, offset, want[name])
				}
			}
			// Between nodes, requests may overtake events.
			if names := strings.Replace(names, "ack ", "", 1); names != "all room binary volatile end " {
				t.Errorf("node %d to %s: got %q", i, s.id, names)
			}
			if k == 0 && names != "all room binary volatile ack end " {
				t.Errorf("node %d to its own %s: got %q", i, s.id, names)
			}
		}
	}
}

// lose persists the session of s as if its client had lost the connection. It returns the secret of the session and the last
// offset that the client has seen.
func (c *cluster) lose(t *testing.T, s *Socket, data any) (pid, offset string) {
	t.Helper()
	broadcast(t, s.node, "last", adapter.Options{})
	Eventually(t, func() string {
		texts := s.Take()
		if len(texts) == 0 {
			return "the socket is not reached"
		}
		offset = offsetOf(texts[len(texts)-1])
		return ""
	})
	pid = "secret-" + s.id
	err := s.node.Adapter.PersistSession(&adapter.Session{ID: s.id, PID: pid, Rooms: s.InRooms(), Data: data})
	if err != nil {
		t.Errorf("PersistSession: %v", err)
	}
	s.Disconnect(false)
	return pid, offset
}

// resumed is a session that was resumed, with the packets that its client has missed.
type resumed struct {
	adapter.Session
	missed []*parser.Packet
	socket *Socket
}

// resume resumes a session on n. It returns nil if there is none.
func (n *Node) resume(t *testing.T, pid, offset string) (*resumed, error) {
	t.Helper()
	found, err := n.Adapter.RestoreSession(patient(t), pid, offset)
	if found == nil || err != nil {
		return nil, err
	}
	r := &resumed{Session: found.Session, socket: n.NewSocket(found.ID)}
	ok, err := found.Resume(patient(t), r.socket, func(missed iter.Seq[*parser.Packet]) bool {
		if r.socket.connected.Swap(true) {
			t.Error("open is called twice")
		}
		r.missed = slices.Collect(missed)
		return true
	})
	if !ok {
		return nil, err
	}
	return r, err
}

// restore resumes a session on node i.
func (c *cluster) restore(t *testing.T, i int, pid, offset string) *resumed {
	t.Helper()
	r, err := c.nodes[i].resume(t, pid, offset)
	if err != nil {
		t.Errorf("RestoreSession: %v", err)
	}
	return r
}

// find restores a session that is stored or about to be stored.
func (c *cluster) find(t *testing.T, i int, pid, offset string) (found *resumed) {
	t.Helper()
	Eventually(t, func() string {
		if found = c.restore(t, i, pid, offset); found == nil {
			return fmt.Sprintf("session %q is not found on node %d behind %q", pid, i, offset)
		}
		return ""
	})
	return found
}

func testRecoveryMissed(t *testing.T, c *cluster) {
	for i := range c.nodes {
		s := c.connect(i, fmt.Sprint("s", i), "room")
		pid, offset := c.lose(t, s, map[string]any{"user": "u", "n": 1.5})
		var want []string
		for k, n := range c.nodes {
			for _, m := range []struct {
				name string
				o    adapter.Options
				miss bool
			}{
				{"all", adapter.Options{}, true},
				{"room", adapter.Options{Rooms: []string{"nobody", "room"}}, true},
				{"several", adapter.Options{Rooms: []string{"room", s.id, "room"}}, true},
				{"own", adapter.Options{Rooms: []string{s.id}}, true},
				{"other", adapter.Options{Rooms: []string{"other"}}, false},
				{"except", adapter.Options{Except: []string{"room"}}, false},
				{"except other", adapter.Options{Except: []string{"other"}}, true},
				{"volatile", adapter.Options{Flags: adapter.Flags{Volatile: true}}, false},
			} {
				name := fmt.Sprint(m.name, " of ", k)
				broadcast(t, n, name, m.o)
				if m.miss {
					want = append(want, name)
				}
			}
			data, attachments, err := parser.AppendEvent(nil, nil, fmt.Sprint("binary of ", k), []byte{byte(k), 0xff})
			if err != nil {
				t.Fatal(err)
			}
			p := &parser.Packet{Type: parser.Event, Namespace: "/", Data: data, Attachments: attachments}
			if err := n.Adapter.Broadcast(p, adapter.Options{}); err != nil {
				t.Error(err)
			}
			want = append(want, fmt.Sprint("binary of ", k))
		}
		on := (i + 1) % len(c.nodes)
		found := c.find(t, on, pid, offset)
		again := found.socket
		slices.Sort(found.Rooms)
		if found.ID != s.id || found.PID != pid || !slices.Equal(found.Rooms, []string{"room", s.id}) {
			t.Errorf("session: got %+v", found.Session)
		}
		if data, err := json.Marshal(found.Data); err != nil || string(data) != `{"n":1.5,"user":"u"}` && string(data) != `{"user":"u","n":1.5}` {
			t.Errorf("data: %s, %v", data, err)
		}
		var got []string
		last := ""
		add := func(text string) {
			name, offset := split(text)
			got, last = append(got, name), offset
		}
		for _, p := range found.missed {
			add(string(p.Data))
			name, _ := split(string(p.Data))
			if len(p.Attachments) > 0 && (!strings.HasPrefix(name, "binary") || len(p.Attachments[0]) != 2 || p.Attachments[0][1] != 0xff) {
				t.Errorf("%s has attachments %v", p.Data, p.Attachments)
			}
		}
		// A node that is behind delivers the rest after the client has returned, including volatile events.
		Eventually(t, func() string {
			for _, text := range again.Take() {
				if name, _ := split(text); !strings.HasPrefix(name, "volatile") {
					add(text)
				}
			}
			if len(got) < len(want) {
				return fmt.Sprintf("missed on node %d and found on node %d: %q, want %q", i, on, got, want)
			}
			return ""
		})
		equal(t, fmt.Sprintf("missed on node %d and found on node %d", i, on), got, want)

		// After receiving them, the client can lose its connection again.
		err := again.node.Adapter.PersistSession(&adapter.Session{ID: s.id, PID: pid, Rooms: again.InRooms()})
		if err != nil {
			t.Error(err)
		}
		again.Disconnect(false)
		broadcast(t, c.nodes[on], "one more", adapter.Options{})
		found = c.find(t, i, pid, last)
		again = found.socket
		Eventually(t, func() string {
			if n := len(found.missed) + len(again.Take()); n != 1 {
				return fmt.Sprintf("the second time: %d events, want 1", n)
			}
			return ""
		})
		again.Disconnect(false)
	}
}

func testRecoveryNotFound(t *testing.T, c *cluster) {
	s := c.connect(0, "s")
	pid, offset := c.lose(t, s, nil)
	last := len(c.nodes) - 1
	for _, test := range [][2]string{
		{"unknown", offset}, {"", offset}, {"*", offset}, {pid + " ", offset}, {"sio:session:" + pid, offset},
		{pid, ""}, {pid, "x"}, {pid, "-"}, {pid, "+"}, {pid, "0-0"}, {pid, "0"}, {pid, "1" + offset}, {pid, "-" + offset}, {pid, offset + " "},
		{pid, "$"}, {pid, "99999999999999999999-0"}, {pid, offset + "-0"},
	} {
		if found := c.restore(t, last, test[0], test[1]); found != nil {
			t.Errorf("%q: got %+v", test, found)
		}
	}
}

func testRecoveryNoData(t *testing.T, c *cluster) {
	s := c.connect(0, "s")
	pid, offset := c.lose(t, s, nil)
	last := len(c.nodes) - 1
	broadcast(t, c.nodes[0], "fence", adapter.Options{})
	found := c.find(t, last, pid, offset)
	if data, err := json.Marshal(found.Data); err != nil || string(data) != "null" && string(data) != "{}" {
		t.Errorf("data: %s, %v", data, err)
	}
}
