package socketio_test

import (
	"context"
	"errors"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio"
)

func TestNamespaces(t *testing.T) {
	s := newServer(t, nil)
	s.Of("admin").Use(func(so *socketio.Socket) error {
		var auth struct{ Token string }
		if err := so.Handshake().Auth.Bind(&auth); err != nil {
			return err
		}
		switch auth.Token {
		case "good":
			return nil
		case "":
			return errors.New("no token <&>")
		default:
			return &socketio.ConnectError{Message: "refused", Data: map[string]int{"code": 7}}
		}
	})
	rooms := s.OfPattern(regexp.MustCompile(`^/room-\d+$`))
	rooms.OnConnect(func(so *socketio.Socket) { _ = so.Emit("welcome", so.Namespace().Name()) })
	funcs := s.OfFunc(func(name string, auth socketio.Value) (bool, error) {
		return strings.HasPrefix(name, "/f") && auth.String() == `{"in":true}`, nil
	})
	url := serve(t, s)

	p := dial(t, url)
	p.send("40/none,")
	p.want(`44/none,{"message":"Invalid namespace"}`)
	p.send("40/admin,")
	p.want(`44/admin,{"message":"no token <&>"}`)
	p.send(`40/admin,{"token":"bad"}`)
	p.want(`44/admin,{"message":"refused","data":{"code":7}}`)
	p.send(`40/admin,{"token":"good"}`)
	if got := p.read(); !strings.HasPrefix(got, `40/admin,{"sid":"`) {
		t.Fatalf("with the token: %q", got)
	}
	p.send("40/room-1,")
	p.read()
	p.want(`42/room-1,["welcome","/room-1"]`)
	p.send("40/f1,")
	p.want(`44/f1,{"message":"Invalid namespace"}`)
	p.send(`40/f1,{"in":true}`)
	if got := p.read(); !strings.HasPrefix(got, `40/f1,{"sid":"`) {
		t.Fatalf("allowed by a function: %q", got)
	}
	if err := rooms.Emit("x"); err != nil {
		t.Fatal(err)
	}
	p.want(`42/room-1,["x"]`)
	if err := funcs.Emit("y"); err != nil {
		t.Fatal(err)
	}
	p.want(`42/f1,["y"]`)
	if _, err := rooms.FetchSockets(t.Context()); !errors.Is(err, adapter.ErrUnsupported) {
		t.Errorf("FetchSockets of a parent: %v", err)
	}
}

func TestDropEmptyNamespaces(t *testing.T) {
	s := newServer(t, &socketio.Options{DropEmptyNamespaces: true})
	created := make(chan string, 10)
	s.OnNewNamespace(func(n *socketio.Namespace) { created <- n.Name() })
	parent := s.OfPattern(regexp.MustCompile(`^/d`))
	parent.Use(func(so *socketio.Socket) error {
		if so.Namespace().Name() == "/dno" {
			return errors.New("no")
		}
		return nil
	})
	url := serve(t, s)
	for range 2 {
		p := connect(t, url, "/d1,")
		if name := receive(t, created); name != "/d1" {
			t.Fatalf("created %q", name)
		}
		p.send("40/dno,")
		p.want(`44/dno,{"message":"no"}`)
		receive(t, created)
		p.conn.Close()
		eventually(t, "the namespace is dropped", func() bool {
			return !slices.ContainsFunc(s.Namespaces(), func(n *socketio.Namespace) bool { return strings.HasPrefix(n.Name(), "/d") })
		})
	}
}

func TestMaxDynamicNamespaces(t *testing.T) {
	s := newServer(t, &socketio.Options{MaxDynamicNamespaces: 1})
	s.OfPattern(regexp.MustCompile(`^/d`))
	s.Of("/static")
	url := serve(t, s)
	connect(t, url, "/d1,")
	p := dial(t, url)
	p.send("40/d2,")
	p.want(`44/d2,{"message":"Too many namespaces"}`)
	p.join("/d1,")
	p.join("/static,")
}

func TestRoomsAndBroadcasts(t *testing.T) {
	s := newServer(t, nil)
	sockets := make(chan *socketio.Socket, 3)
	s.OnConnect(func(so *socketio.Socket) { sockets <- so })
	url := serve(t, s)
	var peers []*peer
	var so []*socketio.Socket
	for range 3 {
		peers = append(peers, connect(t, url, ""))
		so = append(so, receive(t, sockets))
	}
	check := func(what string, want ...int) {
		t.Helper()
		if err := s.Emit("end"); err != nil {
			t.Fatal(err)
		}
		for i, p := range peers {
			var texts []string
			if slices.Contains(want, i) {
				texts = append(texts, `42["`+what+`"]`)
			}
			p.want(append(texts, `42["end"]`)...)
		}
	}
	_ = so[0].Join("r")
	_ = so[1].Join("r", "q")
	for _, test := range []struct {
		name string
		emit func(string, ...any) error
		want []int
	}{
		{"all", s.Emit, []int{0, 1, 2}},
		{"room", s.To("r").Emit, []int{0, 1}},
		{"union", s.To("r", "q").In(so[2].ID()).Emit, []int{0, 1, 2}},
		{"except", s.Except("q").Emit, []int{0, 2}},
		{"one", s.To(so[2].ID()).Emit, []int{2}},
		{"broadcast", so[0].Broadcast().Emit, []int{1, 2}},
		{"to", so[0].To("r").Emit, []int{1}},
		{"self", so[0].To(so[0].ID()).Emit, nil},
		{"local", so[1].Local().Except("r").Emit, []int{2}},
	} {
		if err := test.emit(test.name); err != nil {
			t.Fatal(err)
		}
		check(test.name, test.want...)
	}
	if err := s.In("r").SocketsLeave("r"); err != nil {
		t.Fatal(err)
	}
	_ = s.To("r").Emit("left")
	check("left")
	if err := s.To(so[1].ID()).DisconnectSockets(false); err != nil {
		t.Fatal(err)
	}
	peers[1].want("41")
	found, err := s.FetchSockets(t.Context())
	if err != nil || len(found) != 2 {
		t.Fatalf("FetchSockets: %d, %v", len(found), err)
	}
	h, err := found[0].Handshake()
	if err != nil || h.Query["transport"] != "websocket" || h.Address != "127.0.0.1" {
		t.Errorf("handshake of a found socket: %+v, %v", h, err)
	}
}

func TestBroadcastWithAck(t *testing.T) {
	s := newServer(t, nil)
	url := serve(t, s)
	a, b := connect(t, url, ""), connect(t, url, "")
	go func() {
		for _, p := range []*peer{a, b} {
			question := p.read()
			p.send("43" + question[2:strings.Index(question, "[")] + `["ok"]`)
		}
	}()
	answers, err := s.Timeout(patience).EmitWithAck(t.Context(), "all?")
	if err != nil || len(answers) != 2 || string(answers[0].Data) != `["ok"]` {
		t.Errorf("answers: %v, %v", answers, err)
	}
	if _, err := s.EmitWithAck(context.Background(), "x"); !errors.Is(err, socketio.ErrNoDeadline) {
		t.Errorf("without a deadline: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if answers, err := s.EmitWithAck(ctx, "nobody answers"); !errors.Is(err, context.DeadlineExceeded) || len(answers) != 0 {
		t.Errorf("nobody answers: %v, %v", answers, err)
	}
}

func TestRoomNames(t *testing.T) {
	s := newServer(t, nil)
	s.OnConnect(func(so *socketio.Socket) { _ = so.Join("a", "b") })
	parent := s.OfFunc(func(string, socketio.Value) (bool, error) { return true, nil })
	parent.OnConnect(func(so *socketio.Socket) { _ = so.Join("c") })
	if n := parent.CreateChild("/made"); n != parent.CreateChild("/made") {
		t.Error("a child is made twice")
	}
	url := serve(t, s)
	connect(t, url, "")
	connect(t, url, "/made,")
	eventually(t, "rooms are joined", func() bool {
		rooms := s.Rooms()
		slices.Sort(rooms)
		return slices.Equal(rooms, []string{"a", "b"}) && slices.Equal(parent.Rooms(), []string{"c"})
	})
	if n := len(s.To("a", "b").Sockets()); n != 1 {
		t.Errorf("%d sockets in two rooms", n)
	}
}

// Functions of dynamic namespaces, and middleware, run on separate goroutines. A panic there disconnects the client and does
// not end the process.
func TestPanicsOutsideTheQueue(t *testing.T) {
	s := newServer(t, &socketio.Options{DropEmptyNamespaces: true})
	s.OfFunc(func(name string, _ socketio.Value) (bool, error) {
		switch name {
		case "/allow":
			panic("for the test")
		case "/exit":
			runtime.Goexit()
		}
		return true, nil
	}).Use(func(so *socketio.Socket) error {
		_ = so.Join("room")
		switch so.Namespace().Name() {
		case "/middleware":
			panic("for the test")
		case "/middleware-exit":
			runtime.Goexit()
		}
		return nil
	})
	s.OnNewNamespace(func(n *socketio.Namespace) {
		if n.Name() == "/new" {
			panic("for the test")
		}
	})
	url := serve(t, s)
	for _, name := range []string{"/allow", "/exit", "/middleware", "/middleware-exit", "/new"} {
		p := dial(t, url)
		p.send("40" + name + ",")
		p.want("closed")
		connect(t, url, "")
	}
	eventually(t, "namespaces without sockets are dropped", func() bool {
		return !slices.ContainsFunc(s.Namespaces(), func(n *socketio.Namespace) bool { return strings.HasPrefix(n.Name(), "/m") })
	})
	connect(t, url, "/new,")
}

// OnRoomEvent and OnAnyOutgoing handlers run on the goroutine that causes the event.
func TestPanicsOfObservers(t *testing.T) {
	s := newServer(t, &socketio.Options{Recovery: new(socketio.Recovery)})
	s.OnRoomEvent(func(adapter.RoomEvent) { panic("for the test") })
	gone, connected := make(chan struct{}, 3), make(chan struct{}, 3)
	s.OnConnect(func(so *socketio.Socket) {
		_ = so.Join("a", "b")
		so.OnDisconnect(func(socketio.DisconnectReason) { gone <- struct{}{} })
		if so.Recovered() {
			so.OnAnyOutgoing(func(string, socketio.Args) { panic("for the test") })
		}
		connected <- struct{}{}
	})
	url := serve(t, s)
	p := dial(t, url)
	p.send("40")
	answer := withPID.FindStringSubmatch(p.read())
	receive(t, connected)
	_ = s.Emit("x")
	offset := strings.TrimSuffix(strings.TrimPrefix(p.read(), `42["x","`), `"]`)
	p.conn.Close()
	receive(t, gone)
	if rooms := s.Rooms(); len(rooms) > 0 {
		t.Errorf("rooms %q are left", rooms)
	}
	p = dial(t, url)
	p.send(`40{"pid":"` + answer[2] + `","offset":"` + offset + `"}`)
	p.want(answer[0])
	receive(t, connected)
	other := connect(t, url, "")
	if err := s.Emit("y"); err != nil {
		t.Error(err)
	}
	p.want("closed")
	if got := other.read(); !strings.HasPrefix(got, `42["y","`) {
		t.Errorf("the other client gets %q", got)
	}
}

// A namespace is complete before a client joins it, even if two clients request it at once.
func TestNewNamespaceIsComplete(t *testing.T) {
	s := newServer(t, nil)
	s.OfPattern(regexp.MustCompile(`^/d$`))
	entered, gate := make(chan struct{}), make(chan struct{})
	s.OnNewNamespace(func(n *socketio.Namespace) {
		close(entered)
		<-gate
		n.OnConnect(func(so *socketio.Socket) { _ = so.Emit("welcome") })
	})
	url := serve(t, s)
	first, second := dial(t, url), dial(t, url)
	first.send("40/d,")
	receive(t, entered)
	second.send("40/d,", "40/none,")
	second.want(`44/none,{"message":"Invalid namespace"}`)
	close(gate)
	for _, p := range []*peer{first, second} {
		if got := p.read(); !strings.HasPrefix(got, `40/d,{"sid":"`) {
			t.Fatalf("answer to CONNECT: %q", got)
		}
		p.want(`42/d,["welcome"]`)
	}
}

// Namespaces that are still being decided about count, too, because each takes a goroutine.
func TestManyUndecidedNamespaces(t *testing.T) {
	s := newServer(t, &socketio.Options{MaxNamespaces: 2, DropEmptyNamespaces: true})
	gate := make(chan bool)
	s.OfFunc(func(string, socketio.Value) (bool, error) { return <-gate, nil })
	p := dial(t, serve(t, s))
	p.send("40/a,", "40/b,", "40/c,")
	p.want(`44/c,{"message":"Too many namespaces"}`)
	for range 10 {
		gate <- false
		refused := p.read()
		name, _, _ := strings.Cut(refused[2:], ",")
		if refused != "44"+name+`,{"message":"Invalid namespace"}` {
			t.Fatalf("got %q", refused)
		}
		p.send("40" + name + ",")
	}
	gate <- true
	gate <- true
	for range 2 {
		if got := p.read(); !strings.HasPrefix(got, "40/") {
			t.Fatalf("got %q", got)
		}
	}
	p.send("40/c,")
	p.want(`44/c,{"message":"Too many namespaces"}`)
}

// A client that goes while a function decides about a namespace leaves none behind.
func TestClientGoesBeforeTheDecision(t *testing.T) {
	s := newServer(t, &socketio.Options{DropEmptyNamespaces: true})
	entered, gate, gone, created := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.OfFunc(func(string, socketio.Value) (bool, error) {
		close(entered)
		<-gate
		return true, nil
	})
	s.OnNewNamespace(func(*socketio.Namespace) { close(created) })
	s.OnDisconnect(func(*socketio.Socket, socketio.DisconnectReason) { close(gone) })
	p := connect(t, serve(t, s), "")
	p.send("40/d,")
	receive(t, entered)
	p.conn.Close()
	receive(t, gone)
	close(gate)
	receive(t, created)
	eventually(t, "the namespace is dropped", func() bool { return len(s.Namespaces()) == 1 })
}

// TestJoinAfterDisconnect disconnects a socket in its connection handler and joins afterwards.
func TestJoinAfterDisconnect(t *testing.T) {
	s := newServer(t, nil)
	rooms := make(chan []string, 1)
	s.OnConnect(func(so *socketio.Socket) {
		so.Disconnect(false)
		if err := so.Join("late"); err != nil {
			t.Errorf("Join: %v", err)
		}
		rooms <- s.Rooms()
	})
	p := dial(t, serve(t, s))
	p.join("")
	p.want("41")
	if got := receive(t, rooms); len(got) != 0 {
		t.Errorf("rooms after a join of a socket that is disconnected: %q", got)
	}
}
