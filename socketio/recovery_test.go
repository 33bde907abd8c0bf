package socketio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redisstreams"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
	"github.com/myriad-rt/myriad/socketio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

var withPID = regexp.MustCompile(`^40\{"sid":"([^"]+)","pid":"([^"]+)"\}$`)

// TestRecoveryUnsupported requests recovery with an adapter that does not support it.
func TestRecoveryUnsupported(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, &socketio.Options{
		Recovery: new(socketio.Recovery), Adapter: new(adaptertest.Bus).Factory(nil),
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if s.Recovers() || !strings.Contains(log.String(), "the adapter cannot restore sessions") {
		t.Errorf("recovers: %v, log:\n%s", s.Recovers(), &log)
	}
	p := dial(t, serve(t, s))
	p.send(`40{"pid":"a","offset":"1-0"}`)
	if got := p.read(); strings.Contains(got, "pid") || !strings.HasPrefix(got, `40{"sid":"`) {
		t.Errorf("answer to CONNECT: %q", got)
	}
	if err := s.Emit("x"); err != nil {
		t.Fatal(err)
	}
	p.want(`42["x"]`)
}

// slowRestore is an adapter that broadcasts as soon as a session has been resumed, and returns from that only when told to.
type slowRestore struct {
	adapter.Adapter
	hold <-chan struct{}
}

func (a slowRestore) RestoreSession(ctx context.Context, pid, offset string) (*adapter.Restored, error) {
	r, err := a.Adapter.RestoreSession(ctx, pid, offset)
	if r != nil {
		resume := r.Resume
		r.Resume = func(ctx context.Context, s adapter.Socket, open func(iter.Seq[*parser.Packet]) bool) (bool, error) {
			resumed, err := resume(ctx, s, open)
			_ = a.Broadcast(adaptertest.Event("early"), adapter.Options{})
			<-a.hold
			return resumed, err
		}
	}
	return r, err
}

// TestRecoveredClientIsQuick sends an event as soon as the client learns that its session has been resumed, which may be long
// before the server has finished resuming it. The connection handlers are called first.
func TestRecoveredClientIsQuick(t *testing.T) {
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	s := newServer(t, &socketio.Options{
		Recovery: new(socketio.Recovery),
		Adapter: func(n adapter.Namespace) adapter.Adapter {
			return slowRestore{adapter.NewMemory(n, nil), hold}
		},
	})
	s.OnConnect(func(so *socketio.Socket) {
		so.On("echo", func(e *socketio.Event) { _ = so.Emit("echo", so.Recovered()) })
	})
	kept := make(chan struct{}, 2)
	s.OnDisconnect(func(*socketio.Socket, socketio.DisconnectReason) { kept <- struct{}{} })
	url := serve(t, s)
	p := dial(t, url)
	p.send("40")
	answer := withPID.FindStringSubmatch(p.read())
	if answer == nil {
		t.Fatal("no pid in the answer to CONNECT")
	}
	_ = s.Emit("x")
	event := p.read()
	offset := strings.TrimSuffix(strings.TrimPrefix(event, `42["x","`), `"]`)
	p.conn.Close()
	receive(t, kept)

	p = dial(t, url)
	p.send(`40{"pid":"` + answer[2] + `","offset":"` + offset + `"}`)
	if got := p.read(); got != answer[0] {
		t.Fatalf("answer to CONNECT: %q, want %q", got, answer[0])
	}
	if got := p.read(); !strings.HasPrefix(got, `42["early"`) {
		t.Errorf("after CONNECT: %q", got)
	}
	p.send(`42["echo"]`)
	release()
	if got := p.read(); !strings.HasPrefix(got, `42["echo",true`) {
		t.Errorf("answer to the event: %q", got)
	}
}

// TestRecoveryElsewhere shuts a node down and resumes the session of its client on another one.
func TestRecoveryElsewhere(t *testing.T) {
	addr := redistest.Start(t).Addr
	node := func() *socketio.Server {
		client := redis.NewClient(&redis.Options{Addr: addr})
		s := newServer(t, &socketio.Options{
			Recovery: &socketio.Recovery{MaxDisconnection: time.Minute},
			Adapter:  redisstreams.New(client, &redisstreams.Options{ClusterOptions: adapter.ClusterOptions{OffsetTimeout: patience}}),
		})
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			client.Close()
		})
		return s
	}
	a, b := node(), node()
	resumed := make(chan *socketio.Socket, 1)
	a.OnConnect(func(so *socketio.Socket) {
		_ = so.Join("room")
		so.SetData(map[string]string{"name": "n"})
	})
	b.OnConnect(func(so *socketio.Socket) { resumed <- so })

	p := dial(t, serve(t, a))
	p.send("40")
	answer := withPID.FindStringSubmatch(p.read())
	if answer == nil {
		t.Fatal("no pid in the answer to CONNECT")
	}
	// Events have offsets as soon as both nodes read the stream.
	var offset string
	for deadline := time.Now().Add(patience); offset == ""; {
		if time.Now().After(deadline) {
			t.Fatal("events get no offset")
		}
		_ = b.Emit("first")
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
		}
		_ = a.To(answer[1]).Emit("mine")
		for text := ""; !strings.HasPrefix(text, `42["mine"`); {
			if text = p.read(); strings.HasPrefix(text, `42["first","`) {
				offset = text[len(`42["first","`) : len(text)-2]
			}
		}
	}
	_ = a.To("room").Emit("last")
	last := p.read()
	for !strings.HasPrefix(last, `42["last","`) {
		last = p.read()
	}
	offset = last[len(`42["last","`) : len(last)-2]

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Shutdown(ctx) }()
	p.want("closed")
	p.conn.Close()
	if err := receive(t, done); err != nil {
		t.Fatal(err)
	}
	_ = b.To("room").Emit("missed", []byte{1})
	_ = b.To("elsewhere").Emit("not for it")
	_ = b.To(answer[1]).Emit("direct")

	p = dial(t, serve(t, b))
	p.send(`40{"pid":"` + answer[2] + `","offset":"` + offset + `"}`)
	if got := p.read(); !strings.HasPrefix(got, `451-["missed",{"_placeholder":true,"num":0},"`) {
		t.Errorf("first packet: %q", got)
	}
	p.want("b:01")
	if got := p.read(); !strings.HasPrefix(got, `42["direct","`) {
		t.Errorf("second packet: %q", got)
	}
	p.want(answer[0])
	so := receive(t, resumed)
	var data struct{ Name string }
	if err := so.BindData(&data); err != nil || data.Name != "n" {
		t.Errorf("data: %v, %v", so.Data(), err)
	}
	if _, raw := so.Data().(json.RawMessage); !raw || !so.Recovered() || so.ID() != answer[1] || len(so.Rooms()) != 2 {
		t.Errorf("resumed: %v, id %q, data %T, rooms %v", so.Recovered(), so.ID(), so.Data(), so.Rooms())
	}
	_ = b.To("room").Emit("next")
	if got := p.read(); !strings.HasPrefix(got, `42["next","`) {
		t.Errorf("an event after that: %q", got)
	}
}

// TestEmitWhileAway emits to a socket whose client has lost its connection. The event is kept, and the client gets it when it
// resumes its session. Emit fails for events that are not kept, and for sockets that cannot be resumed.
func TestEmitWhileAway(t *testing.T) {
	s := newServer(t, &socketio.Options{Recovery: new(socketio.Recovery)})
	s.OnDisconnecting(func(so *socketio.Socket, _ socketio.DisconnectReason) { _ = so.Emit("going") })
	s.OnConnect(func(so *socketio.Socket) { _ = so.Emit("welcome") })
	left := make(chan *socketio.Socket, 1)
	s.OnDisconnect(func(so *socketio.Socket, _ socketio.DisconnectReason) { left <- so })
	url := serve(t, s)
	p := dial(t, url)
	p.send("40")
	answer := withPID.FindStringSubmatch(p.read())
	if answer == nil {
		t.Fatal("no pid in the answer to CONNECT")
	}
	offset := strings.TrimSuffix(strings.TrimPrefix(p.read(), `42["welcome","`), `"]`)
	p.conn.Close()
	so := receive(t, left)
	if err := so.Emit("away", 1); err != nil {
		t.Errorf("Emit: %v", err)
	}
	if err := so.Volatile().Emit("volatile"); !errors.Is(err, socketio.ErrDisconnected) {
		t.Errorf("Emit of a volatile event: %v, want ErrDisconnected", err)
	}
	if _, err := so.EmitWithAck(t.Context(), "question"); !errors.Is(err, socketio.ErrDisconnected) {
		t.Errorf("EmitWithAck: %v, want ErrDisconnected", err)
	}

	p = dial(t, url)
	p.send(`40{"pid":"` + answer[2] + `","offset":"` + offset + `"}`)
	for _, want := range []string{`42["going","`, `42["away",1,"`, answer[0], `42["welcome","`} {
		if got := p.read(); !strings.HasPrefix(got, want) {
			t.Errorf("packet %q, want %q", got, want)
		}
	}
	// The socket that was kept stands for the session, which goes on under its id.
	if err := so.Emit("again"); err != nil {
		t.Errorf("Emit after the session was resumed: %v", err)
	}
	if got := p.read(); !strings.HasPrefix(got, `42["again","`) {
		t.Errorf("packet %q", got)
	}
	p.send("41")
	if err := receive(t, left).Emit("gone"); !errors.Is(err, socketio.ErrDisconnected) {
		t.Errorf("Emit after the client has left the namespace: %v, want ErrDisconnected", err)
	}
}
