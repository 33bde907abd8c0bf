package socketio

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/ident"
)

// The states of a socket:
//
//	pending ──▶ connected ──▶ leaving ──▶ gone
//	   └───── refused, or client gone ──────▲
//
// A socket is connected from the moment at which CONNECT is in the line of its client. From leaving on nothing reaches it;
// its handlers for disconnection are still to be called.
const (
	statePending uint64 = iota
	stateConnected
	stateLeaving
	stateGone
)

var socketIDs ident.Source

// Socket is one client in one namespace. All methods are safe for concurrent use; none of them waits for the
// client, except EmitWithAck.
//
// Handlers registered on a socket take memory for as long as it is connected; those of a namespace
// serve all of its sockets.
type Socket struct {
	record adapter.Member // the adapter's
	ns     *Namespace
	client *client
	id     string
	auth   *string // the payload of CONNECT; nil if there was none
	status status
	extra  atomic.Pointer[extra]
}

// status is the state of a socket, its marks and the time at which it was made, in one word.
type status struct{ word atomic.Uint64 }

const (
	stateBits   = 1<<8 - 1
	issuedShift = 16 // milliseconds since 1970

	// deaf marks a socket that the application has disconnected: waiting events are dropped, and it joins no more
	// rooms. Events that a client sent before it left by itself are still handled.
	deaf = 1 << 8
	// announced is set when connection handlers have been called, so that those for disconnection
	// will be. It belongs to the queue.
	announced = 1 << 9
	// resumable marks a socket that has lost its client, which may come back for what is emitted meanwhile.
	resumable = 1 << 10
)

func (s *status) state() uint64 { return s.word.Load() & stateBits }

// move changes the state if it is from, and reports whether it was.
func (s *status) move(from, to uint64) bool {
	for {
		old := s.word.Load()
		if old&stateBits != from {
			return false
		}
		if s.word.CompareAndSwap(old, old&^stateBits|to) {
			return true
		}
	}
}

func (s *status) mark(m uint64) { s.word.Or(m) }

func (s *status) marked(m uint64) bool { return s.word.Load()&m != 0 }

func (s *status) issued() time.Time { return time.UnixMilli(int64(s.word.Load() >> issuedShift)) }

// extra is what few sockets have. It is made when it is first needed.
type extra struct {
	handlers      handlers
	outgoing      list[func(event string, args Args)]
	middleware    list[func(*Event) error]
	disconnecting list[func(DisconnectReason)]
	disconnect    list[func(DisconnectReason)]
	errors        list[func(error)]

	pid       string // the secret for resuming the session, if that is on
	recovered bool   // the session has been resumed

	mu     sync.Mutex
	data   any
	acks   map[uint64]ackWaiter
	ctx    context.Context
	cancel context.CancelCauseFunc
	cause  error // of the end of ctx
}

// newSocket returns a socket that is not yet connected.
func newSocket(n *Namespace, c *client, auth []byte) *Socket {
	s := &Socket{ns: n, client: c}
	s.status.word.Store(uint64(time.Now().UnixMilli()) << issuedShift)
	if len(auth) > 0 {
		kept := string(auth)
		s.auth = &kept
	}
	switch {
	case c.session.Protocol() != 3:
		s.id = socketIDs.New()
	case n.name == "/":
		s.id = c.session.ID()
	default:
		s.id = n.name + "#" + c.session.ID()
	}
	if n.Recovers() {
		s.more().pid = socketIDs.New()
	}
	return s
}

func (s *Socket) more() *extra {
	if x := s.extra.Load(); x != nil {
		return x
	}
	s.extra.CompareAndSwap(nil, new(extra))
	return s.extra.Load()
}

// ID returns the public id of the socket: 20 characters that are safe in a URL. That of a client of
// Engine.IO protocol v3 is the id of its session, in front of which stands the namespace, if it is not "/",
// and "#".
func (s *Socket) ID() string { return s.id }

// Namespace returns the namespace that the socket belongs to.
func (s *Socket) Namespace() *Namespace { return s.ns }

// Session returns the Engine.IO session that carries the socket, and the client's sockets in other namespaces.
// Node.js: socket.conn.
func (s *Socket) Session() *Session { return s.client.session }

// Handshake returns how the socket came to be.
func (s *Socket) Handshake() *Handshake {
	auth := "{}"
	if s.auth != nil {
		auth = *s.auth
	}
	return &Handshake{Request: s.client.session.Request(), Auth: Value{Data: []byte(auth)}, Time: s.status.issued()}
}

// Connected reports whether the socket is connected. It is not in middleware, and no more when handlers for
// disconnection are called, but still in those of OnDisconnecting. Nothing can be sent to it from the moment on
// at which its disconnection has been decided.
func (s *Socket) Connected() bool {
	st := s.status.state()
	return st == stateConnected || st == stateLeaving
}

// reachable reports whether packets may be sent to the socket.
func (s *Socket) reachable() bool {
	st := s.status.state()
	return st == stateConnected
}

// Context returns a context that ends when the socket is no longer connected, or will never be; its cause is then a
// *DisconnectError. A handler or middleware that waits for something can use it, so as not to outlive its client.
func (s *Socket) Context() context.Context {
	x := s.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancelCause(context.Background())
		if x.cause != nil {
			x.cancel(x.cause)
		}
	}
	return x.ctx
}

// SetData attaches v to the socket. Other nodes of a cluster see it as JSON, with FetchSockets.
func (s *Socket) SetData(v any) {
	x := s.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.data = v
}

// Data returns what SetData has attached, or nil.
func (s *Socket) Data() any {
	x := s.extra.Load()
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.data
}

// BindData stores the socket's data in what dst points to, by way of JSON. In contrast to Data it also
// serves for a session that was resumed on another node than the one that it began on.
func (s *Socket) BindData(dst any) error {
	data, err := json.Marshal(s.Data())
	if err != nil {
		return err
	}
	return json.Unmarshal(data, dst)
}

// Recovered reports whether the socket resumes the session of a client that had lost its connection: id, rooms
// and data are as they were, and the client gets the events that it has missed.
func (s *Socket) Recovered() bool {
	x := s.extra.Load()
	return x != nil && x.recovered
}

// On registers f for an event of this socket. Several handlers for an event are called in the order of
// registration, after those of the namespace. It panics if f is nil or the name is reserved.
func (s *Socket) On(event string, f func(*Event)) { s.handle(event, handler{do: f, keeps: true}) }

// handle implements [Registrar].
func (s *Socket) handle(event string, h handler) { s.more().handlers.add(event, h) }

// Once registers f for the next event of this name.
func (s *Socket) Once(event string, f func(*Event)) {
	s.handle(event, handler{do: f, keeps: true, once: new(sync.Once)})
}

// Off removes the handlers for the events that were registered on this socket, or all of them if no event is
// given.
func (s *Socket) Off(events ...string) { s.more().handlers.remove(events...) }

// OnAny registers f to be called with every event of this socket, before event middleware and handlers.
func (s *Socket) OnAny(f func(*Event)) { s.more().handlers.any.add(f, f == nil) }

// PrependAny is OnAny in front of what has been registered before.
func (s *Socket) PrependAny(f func(*Event)) { s.more().handlers.any.prepend(f, f == nil) }

// OffAny removes what OnAny and PrependAny have registered on this socket.
func (s *Socket) OffAny() { s.more().handlers.any.clear() }

// OnAnyOutgoing registers f to be called with every event that is sent to this socket, by Emit or a broadcast,
// but not with acknowledgements. It must not block, nor keep args.
func (s *Socket) OnAnyOutgoing(f func(event string, args Args)) {
	s.more().outgoing.add(f, f == nil)
}

// PrependAnyOutgoing is OnAnyOutgoing in front of what has been registered before.
func (s *Socket) PrependAnyOutgoing(f func(event string, args Args)) {
	s.more().outgoing.prepend(f, f == nil)
}

// OffAnyOutgoing removes what OnAnyOutgoing and PrependAnyOutgoing have registered.
func (s *Socket) OffAnyOutgoing() { s.more().outgoing.clear() }

// Use adds an event middleware: f is called with each event of this socket before its handlers. If it
// returns an error, error handlers are called in their place. It may change the event with [Event.Replace].
func (s *Socket) Use(f func(*Event) error) { s.more().middleware.add(f, f == nil) }

// OnDisconnecting registers f to be called when the socket is about to leave its rooms.
func (s *Socket) OnDisconnecting(f func(DisconnectReason)) { s.more().disconnecting.add(f, f == nil) }

// OnDisconnect registers f to be called when the socket has disconnected and left its rooms.
func (s *Socket) OnDisconnect(f func(DisconnectReason)) { s.more().disconnect.add(f, f == nil) }

// OnError registers f to be called with what goes wrong with this socket. See [Namespace.OnError].
func (s *Socket) OnError(f func(error)) { s.more().errors.add(f, f == nil) }

// Join puts the socket into rooms. Joining twice is harmless; after disconnecting it does nothing. It
// returns ErrTooManyRooms if the socket would be in more rooms than allowed.
func (s *Socket) Join(rooms ...string) error {
	if s.status.marked(deaf) {
		return nil // it is about to leave its rooms
	}
	return s.ns.adapter.Add((*member)(s), rooms...)
}

// Leave takes the socket out of rooms.
func (s *Socket) Leave(rooms ...string) {
	for _, room := range rooms {
		s.ns.adapter.Remove((*member)(s), room)
	}
}

// Rooms returns the rooms that the socket is in, the one named after its id included. There are none after
// disconnecting.
func (s *Socket) Rooms() []string { return s.ns.adapter.Rooms((*member)(s)) }

// Disconnect takes the socket out of its namespace. If closeConn is true it does the same to the client's
// sockets in other namespaces and closes the connection. Handlers for disconnection run on the client's
// queue: when called from another handler, after that has returned. Calling it twice is harmless; it
// does nothing in middleware.
func (s *Socket) Disconnect(closeConn bool) {
	if !s.reachable() {
		return
	}
	if closeConn {
		s.client.disconnectAll()
		return
	}
	if s.end(ServerNamespaceDisconnect, nil) {
		s.client.schedule()
	}
}

// Emit sends an event to the client. It does not wait for the client; events arrive in the order of the
// calls. Arguments are encoded as [parser.AppendArgs] does; byte slices anywhere in them become binary
// attachments. They are not kept.
//
// It returns ErrDisconnected, a *ReservedEventError, an error of the encoding, or an error of the
// transport if the client was disconnected because it reads too slowly. With recovery, Emit on a socket that has
// lost its connection keeps the event for as long as the session can be resumed, and returns nil.
//
// Socket.IO protocol v5, "EVENT".
func (s *Socket) Emit(event string, args ...any) error { return s.emitter().Emit(event, args...) }

// EmitWithAck sends an event and waits for the client's acknowledgement, which it returns. It may be called
// from a handler. It returns ctx's error when that ends, and ErrDisconnected if the client leaves first.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	return s.emitter().EmitWithAck(ctx, event, args...)
}

func (s *Socket) emitter() Emitter { return Emitter{s: s} }

// Volatile returns an emitter whose packets are dropped if the client cannot be written to at once.
func (s *Socket) Volatile() Emitter { return s.emitter().Volatile() }

// Compress returns an emitter that says whether transports may compress its packets.
func (s *Socket) Compress(compress bool) Emitter { return s.emitter().Compress(compress) }

// Timeout returns an emitter that bounds the wait for acknowledgements.
func (s *Socket) Timeout(d time.Duration) Emitter { return s.emitter().Timeout(d) }

// Broadcast selects all sockets of the namespace but this one.
func (s *Socket) Broadcast() Broadcast { return s.emitter().Broadcast() }

// To selects the sockets in any of rooms, without this one.
func (s *Socket) To(rooms ...string) Broadcast { return s.emitter().To(rooms...) }

// In is another word for To.
func (s *Socket) In(rooms ...string) Broadcast { return s.emitter().To(rooms...) }

// Except selects all sockets but this one and those in any of rooms.
func (s *Socket) Except(rooms ...string) Broadcast { return s.emitter().Broadcast().Except(rooms...) }

// Local selects all sockets of this node but this one.
func (s *Socket) Local() Broadcast { return s.emitter().Broadcast().Local() }
