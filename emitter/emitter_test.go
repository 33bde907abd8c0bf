package emitter_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/emitter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// record is a backend that records messages.
type record struct {
	mu   sync.Mutex
	sent []adapter.Message
	ctx  context.Context
	err  error
}

func (r *record) Publish(ctx context.Context, m *adapter.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx = ctx
	r.sent = append(r.sent, *m)
	return r.err
}

func TestOperations(t *testing.T) {
	type message = adapter.Message
	value := func(text string, attachments ...[]byte) parser.Value {
		return parser.Value{Data: []byte(text), Attachments: attachments}
	}
	for name, test := range map[string]struct {
		do   func(e emitter.Emitter) error
		want message
	}{
		"emit": {
			func(e emitter.Emitter) error { return e.Emit("hello", 1, "ü", map[string]any{"3": []int{4}}) },
			message{Type: adapter.MessageBroadcast, Value: value(`["hello",1,"ü",{"3":[4]}]`)},
		},
		"nothing but the event": {
			func(e emitter.Emitter) error { return e.Emit("") },
			message{Type: adapter.MessageBroadcast, Value: value(`[""]`)},
		},
		"binary": {
			func(e emitter.Emitter) error { return e.Emit("b", []byte{1, 2}, []any{[]byte{3}}) },
			message{Type: adapter.MessageBroadcast, Value: value(`["b",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]`, []byte{1, 2}, []byte{3})},
		},
		"selection": {
			func(e emitter.Emitter) error {
				return e.To("a").In("b", "c").Except("d").Except("e", "f").Emit("x")
			},
			message{
				Type: adapter.MessageBroadcast, Value: value(`["x"]`),
				Options: adapter.Options{Rooms: []string{"a", "b", "c"}, Except: []string{"d", "e", "f"}},
			},
		},
		"flags": {
			func(e emitter.Emitter) error { return e.Volatile().Compress(false).Emit("x") },
			message{Type: adapter.MessageBroadcast, Value: value(`["x"]`), Options: adapter.Options{Flags: adapter.Flags{Volatile: true, NoCompress: true}}},
		},
		"compressed again": {
			func(e emitter.Emitter) error { return e.Compress(false).Compress(true).Emit("x") },
			message{Type: adapter.MessageBroadcast, Value: value(`["x"]`)},
		},
		"join": {
			func(e emitter.Emitter) error { return e.To("a").SocketsJoin("b", "c") },
			message{Type: adapter.MessageSocketsJoin, Options: adapter.Options{Rooms: []string{"a"}}, Rooms: []string{"b", "c"}},
		},
		"leave": {
			func(e emitter.Emitter) error { return e.Except("a").SocketsLeave("b") },
			message{Type: adapter.MessageSocketsLeave, Options: adapter.Options{Except: []string{"a"}}, Rooms: []string{"b"}},
		},
		"disconnect": {
			func(e emitter.Emitter) error { return e.DisconnectSockets(false) },
			message{Type: adapter.MessageDisconnectSockets},
		},
		"disconnect and close": {
			func(e emitter.Emitter) error { return e.In("a").DisconnectSockets(true) },
			message{Type: adapter.MessageDisconnectSockets, Options: adapter.Options{Rooms: []string{"a"}}, CloseConn: true},
		},
		"server-side": {
			func(e emitter.Emitter) error { return e.To("a").Volatile().ServerSideEmit("reload", 1, []byte{1}) },
			message{Type: adapter.MessageServerSideEmit, Value: value(`["reload",1,{"_placeholder":true,"num":0}]`, []byte{1})},
		},
	} {
		for _, ns := range []struct{ said, name string }{{"", "/"}, {"/", "/"}, {"chat", "/chat"}, {"/chat", "/chat"}, {"/ü", "/ü"}} {
			var r record
			e := emitter.New(&r)
			if ns.said != "" {
				e = e.Of(ns.said)
			}
			if err := test.do(e); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			want := test.want
			want.UID, want.Namespace = adapter.EmitterUID, ns.name
			if len(r.sent) != 1 || !reflect.DeepEqual(r.sent[0], want) {
				t.Errorf("%s in %q:\n got %+v\nwant %+v", name, ns.said, r.sent, want)
			}
		}
	}
}

// TestImmutable refines one Emitter in several ways, at the same time.
func TestImmutable(t *testing.T) {
	var r record
	base := emitter.New(&r).To("a", "b").Except("x")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			room := fmt.Sprint(i)
			refined := base.To(room).Except(room).Of(room).Volatile()
			if err := refined.Emit(room); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := base.Emit("base"); err != nil {
		t.Fatal(err)
	}
	for _, m := range r.sent[:20] {
		name, _, _ := parser.EventName(m.Value.Data)
		room := string(name)
		want := adapter.Options{Rooms: []string{"a", "b", room}, Except: []string{"x", room}, Flags: adapter.Flags{Volatile: true}}
		if !reflect.DeepEqual(m.Options, want) || m.Namespace != "/"+room {
			t.Errorf("%s: got %+v in %s", room, m.Options, m.Namespace)
		}
	}
	want := adapter.Options{Rooms: []string{"a", "b"}, Except: []string{"x"}}
	if m := r.sent[20]; !reflect.DeepEqual(m.Options, want) || m.Namespace != "/" {
		t.Errorf("what was refined has changed: %+v", m)
	}
}

func TestErrors(t *testing.T) {
	var r record
	e := emitter.New(&r)
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		var reserved *parser.ReservedEventError
		if err := e.Emit(name); !errors.As(err, &reserved) || reserved.Event != name {
			t.Errorf("Emit(%q): %v", name, err)
		}
	}
	for _, name := range []string{"connect", "connection", "new_namespace"} {
		var reserved *parser.ReservedEventError
		if err := e.ServerSideEmit(name); !errors.As(err, &reserved) || reserved.Event != name {
			t.Errorf("ServerSideEmit(%q): %v", name, err)
		}
	}
	for name, arg := range map[string]any{"function": func() {}, "channel": make(chan int), "NaN": math.NaN()} {
		if err := e.Emit("x", arg); err == nil {
			t.Errorf("Emit of %s: no error", name)
		}
		if err := e.ServerSideEmit("x", 1, arg); err == nil {
			t.Errorf("ServerSideEmit of %s: no error", name)
		}
	}
	if len(r.sent) > 0 {
		t.Errorf("sent all the same: %+v", r.sent)
	}
	r.err = errors.New("backend")
	for _, err := range []error{e.Emit("x"), e.SocketsJoin("x"), e.SocketsLeave("x"), e.DisconnectSockets(true), e.ServerSideEmit("x")} {
		if !errors.Is(err, r.err) {
			t.Errorf("got %v, want that of the backend", err)
		}
	}
}

func TestContext(t *testing.T) {
	var r record
	e := emitter.New(&r)
	if err := e.Emit("x"); err != nil {
		t.Fatal(err)
	}
	if deadline, ok := r.ctx.Deadline(); !ok || time.Until(deadline) > 10*time.Second {
		t.Errorf("the deadline is %v, %v", deadline, ok)
	}
	want := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), want)
	if err := e.WithContext(ctx).Emit("x"); err != nil {
		t.Fatal(err)
	}
	if deadline, _ := r.ctx.Deadline(); !deadline.Equal(want) {
		t.Errorf("the deadline is %v, want %v", deadline, want)
	}
	cancel()
	sent := len(r.sent)
	if err := e.WithContext(ctx).SocketsJoin("x"); !errors.Is(err, context.Canceled) || len(r.sent) != sent {
		t.Errorf("cancelled: %v", err)
	}
	if err := e.Emit("x"); err != nil {
		t.Errorf("without the context: %v", err)
	}
}
