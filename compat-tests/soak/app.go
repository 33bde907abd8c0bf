package soak

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio"
)

// auth is the payload of CONNECT.
type auth struct {
	Key    string   `json:"key"`
	Rooms  []string `json:"rooms,omitempty"`
	Gate   string   `json:"gate,omitempty"` // instructs middleware
	PID    string   `json:"pid,omitempty"`
	Offset string   `json:"offset,omitempty"`
}

// order instructs the application.
type order struct {
	Op    string `json:"op"`
	N     int    `json:"n,omitempty"`
	Room  string `json:"room,omitempty"`
	Close bool   `json:"close,omitempty"`
}

// Names of rooms.
const (
	quietRoom = "quiet"
	preyRoom  = "prey" // its sockets may be disconnected by others
	crowdRoom = "crowd"
)

// noOffset is the last argument of events without an offset: clients take a string in this place for one.
const noOffset = 0

// stillNamespace has no broadcasts. Clients in it receive only pings, so only pings can fail.
const stillNamespace = "/still"

// childPattern matches the names of dynamic namespaces.
var childPattern = regexp.MustCompile(`^/child-\d+$`)

// install registers the application on a node.
func (r *round) install(n *node) {
	n.server.OnConnect(func(s *socketio.Socket) {
		r.welcome(s)
		if r.plan.hooks {
			s.OnAnyOutgoing(func(string, socketio.Args) { r.emitInside(n) })
		}
	})
	n.server.Use(func(s *socketio.Socket) error { return r.gate(s) })
	n.server.On("number", func(e *socketio.Event) { r.handleNumber(e, keyOf(e.Socket())) })
	n.server.On("do", func(e *socketio.Event) { r.handleOrder(n, e) })
	n.server.On("quiet", func(e *socketio.Event) {
		r.fine(n.server.To(quietRoom).Emit("quiet", keyOf(e.Socket())))
		r.fine(e.Ack())
	})
	n.server.On("blob", func(e *socketio.Event) { r.fine(e.Ack(e.Args().Values()...)) })
	n.server.On("crumb", func(*socketio.Event) {})
	n.server.OnServerEvent("server", func(e *socketio.ServerEvent) { _ = e.Ack(n.index) })

	still := n.server.Of(stillNamespace)
	still.OnConnect(func(s *socketio.Socket) { r.track(s) })
	still.On("do", func(e *socketio.Event) { r.handleOrder(n, e) })
	still.On("crumb", func(*socketio.Event) {})

	parent := n.server.OfPattern(childPattern)
	parent.OnConnect(func(s *socketio.Socket) {
		r.track(s)
		r.fine(s.Join("family"))
	})
	parent.On("number", func(e *socketio.Event) { r.handleNumber(e, keyOf(e.Socket())+" of "+e.Socket().Namespace().Name()) })
}

// track counts the socket until the garbage collector has freed it.
func (r *round) track(s *socketio.Socket) {
	r.live.Add(1)
	runtime.AddCleanup(s, func(live *atomic.Int64) { live.Add(-1) }, r.live)
	var a auth
	if err := s.Handshake().Auth.Bind(&a); err != nil {
		r.fail("auth of a client: %v", err)
	}
	s.SetData(a)
}

func authOf(s *socketio.Socket) auth {
	a, ok := s.Data().(auth)
	if !ok {
		_ = s.BindData(&a)
	}
	return a
}

func keyOf(s *socketio.Socket) string { return authOf(s).Key }

// welcome handles a connection.
func (r *round) welcome(s *socketio.Socket) {
	r.track(s)
	a := authOf(s)
	r.fine(s.Join(a.Rooms...))
	s.OnDisconnecting(func(socketio.DisconnectReason) {
		if s.Context().Err() == nil {
			r.fail("the context of client %s has not ended when it is disconnected", a.Key)
		}
		if r.volume.allow(100) {
			r.fine(s.To("common").Emit("leaves", a.Key))
		}
	})
	s.OnDisconnect(func(reason socketio.DisconnectReason) {
		r.ledger.disconnect(a.Key, string(reason))
		if s.Connected() || len(s.Rooms()) > 0 {
			r.fail("client %s is connected, or in rooms, when its handler for disconnection is called", a.Key)
		}
	})
}

// gate is middleware.
func (r *round) gate(s *socketio.Socket) error {
	var a auth
	if err := s.Handshake().Auth.Bind(&a); err != nil {
		return err
	}
	if a.Gate == "" {
		return nil
	}
	defer r.handlers.enter("gate "+a.Gate, a.Key)()
	switch a.Gate {
	case "wait":
		<-s.Context().Done()
	case "panic":
		panic(purpose)
	case "refuse":
		return errors.New("refused")
	}
	return nil
}

// handleNumber handles a numbered event.
func (r *round) handleNumber(e *socketio.Event, key string) {
	var n int
	if err := e.Bind(&n); err != nil {
		r.fail("number of client %s: %v", key, err)
		return
	}
	if err := r.ledger.handle(key, n); err != nil {
		r.fail("%v", err)
	}
	if e.WantsAck() {
		r.fine(e.Ack(n))
	}
}

// handleOrder carries out an order.
func (r *round) handleOrder(n *node, e *socketio.Event) {
	var o order
	if err := e.Bind(&o); err != nil {
		r.fail("order: %v", err)
		return
	}
	s := e.Socket()
	defer r.handlers.enter(o.Op, keyOf(s))()
	f := operations[o.Op]
	if f == nil {
		r.fail("unknown order %q", o.Op)
		return
	}
	result := f(r, n, s, o)
	if e.WantsAck() {
		r.fine(e.Ack(result))
	}
}

// operations are the bodies of handlers, by the name of the order. Their results are the acknowledgements.
var operations = map[string]func(r *round, n *node, s *socketio.Socket, o order) any{
	"block": func(r *round, n *node, s *socketio.Socket, o order) any {
		time.Sleep(time.Duration(o.N) * time.Millisecond)
		return nil
	},
	// The next three wait for the client without a time limit.
	"ask": func(r *round, n *node, s *socketio.Socket, o order) any {
		answer, err := s.EmitWithAck(s.Context(), "question", o.N)
		if err != nil {
			return err.Error()
		}
		return answer.At(0)
	},
	"wait": func(r *round, n *node, s *socketio.Socket, o order) any {
		<-s.Context().Done()
		return nil
	},
	"offer": func(r *round, n *node, s *socketio.Socket, o order) any {
		select {
		case make(chan int) <- 1:
		case <-s.Context().Done():
		}
		return nil
	},
	"ask for a while": func(r *round, n *node, s *socketio.Socket, o order) any {
		_, err := s.Timeout(time.Duration(o.N)*time.Millisecond).EmitWithAck(context.Background(), "question")
		return err == nil
	},
	"survey": func(r *round, n *node, s *socketio.Socket, o order) any {
		answers, _ := s.Namespace().In(o.Room).Timeout(200*time.Millisecond).EmitWithAck(context.Background(), "question")
		return len(answers)
	},
	"panic":  func(*round, *node, *socketio.Socket, order) any { panic(purpose) },
	"goexit": func(*round, *node, *socketio.Socket, order) any { runtime.Goexit(); return nil },
	"everyone": func(r *round, n *node, s *socketio.Socket, o order) any {
		if r.volume.allow(o.N) {
			r.fine(n.server.Emit("news", strings.Repeat("n", o.N)))
		}
		return nil
	},
	"room": func(r *round, n *node, s *socketio.Socket, o order) any {
		if r.volume.allow(o.N) {
			r.fine(s.To(o.Room).Emit("news", strings.Repeat("r", o.N)))
		}
		return nil
	},
	"volatile": func(r *round, n *node, s *socketio.Socket, o order) any {
		if r.volume.allow(o.N) {
			r.fine(s.Broadcast().Volatile().Emit("news", strings.Repeat("v", o.N), noOffset))
		}
		return nil
	},
	// The next two send until more waits for the client than is allowed: directly, and by broadcasts to a room.
	"pour": func(r *round, n *node, s *socketio.Socket, o order) any {
		for sent := 0; sent < o.N && s.Emit("drop", drop) == nil; sent += len(drop) {
		}
		return nil
	},
	"fill": func(r *round, n *node, s *socketio.Socket, o order) any {
		for sent := 0; sent < o.N && s.Connected(); sent += len(drop) {
			r.fine(n.server.To(o.Room).Emit("drop", drop))
		}
		return nil
	},
	"join": func(r *round, n *node, s *socketio.Socket, o order) any {
		rooms := make([]string, o.N)
		for i := range rooms {
			rooms[i] = fmt.Sprint(o.Room, i)
		}
		r.fine(s.Join(rooms...))
		return len(s.Rooms())
	},
	"leave": func(r *round, n *node, s *socketio.Socket, o order) any {
		for i := range o.N {
			s.Leave(fmt.Sprint(o.Room, i))
		}
		return len(s.Rooms())
	},
	"kick": func(r *round, n *node, s *socketio.Socket, o order) any {
		if prey := s.Namespace().In(preyRoom).Sockets(); len(prey) > 0 {
			prey[o.N%len(prey)].Disconnect(o.Close)
		}
		return nil
	},
	"kick all": func(r *round, n *node, s *socketio.Socket, o order) any {
		r.fine(n.server.In(preyRoom).DisconnectSockets(o.Close))
		return nil
	},
	"quit": func(r *round, n *node, s *socketio.Socket, o order) any {
		s.Disconnect(o.Close)
		return nil
	},
	"fetch": func(r *round, n *node, s *socketio.Socket, o order) any {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		sockets, err := n.server.In(o.Room).FetchSockets(ctx)
		r.fine(err)
		return len(sockets)
	},
	"move": func(r *round, n *node, s *socketio.Socket, o order) any {
		r.fine(n.server.In(s.ID()).SocketsJoin(o.Room))
		r.fine(n.server.In(o.Room).SocketsLeave(o.Room))
		return nil
	},
	"servers": func(r *round, n *node, s *socketio.Socket, o order) any {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		answers, err := n.server.ServerSideEmitWithAck(ctx, "server")
		r.fine(err)
		return len(answers)
	},
}

// drop is the argument of the events of "pour" and "fill".
var drop = strings.Repeat("d", 16<<10)

// fine fails the round if an operation of the application failed, unless the reason is that a client has left.
func (r *round) fine(err error) {
	if err == nil || r.ending.Load() || r.ctx.Err() != nil || errors.Is(err, socketio.ErrDisconnected) ||
		errors.Is(err, engineio.ErrClosed) || errors.Is(err, engineio.ErrSlowPeer) {
		return
	}
	r.fail("an operation of the application returned: %v", err)
}

// volume limits the rate of broadcasts.
type volume struct {
	mu     sync.Mutex
	rate   float64 // bytes per second
	tokens float64
	last   time.Time
}

func (v *volume) allow(n int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	v.tokens = min(v.rate, v.tokens+now.Sub(v.last).Seconds()*v.rate)
	v.last = now
	if float64(n) > v.tokens {
		return false
	}
	v.tokens -= float64(n)
	return true
}
