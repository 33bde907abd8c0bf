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

// Socket is one client in one namespace. All methods are safe for concurrent use. Only EmitWithAck waits for the
// client.
//
// Handlers registered on a socket take memory as long as it is connected. Handlers of a namespace are shared by its
// sockets.
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
	// resumable marks a socket whose client has lost its connection and may resume, and then receives later events.
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

// extra holds state that few sockets need. It is allocated on first use.
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

// ID returns the public id of the socket: 20 characters that are safe in a URL. For a client of Engine.IO protocol v3,
// it is the session id, preceded by the namespace and "#" unless the namespace is "/".
func (s *Socket) ID() string { return s.id }

// Namespace returns the namespace of the socket.
func (s *Socket) Namespace() *Namespace { return s.ns }

// Session returns the Engine.IO session, which also carries the client's sockets in other namespaces. Node.js:
// socket.conn.
func (s *Socket) Session() *Session { return s.client.session }

// Handshake returns the handshake of the socket.
func (s *Socket) Handshake() *Handshake {
	auth := "{}"
	if s.auth != nil {
		auth = *s.auth
	}
	return &Handshake{Request: s.client.session.Request(), Auth: Value{Data: []byte(auth)}, Time: s.status.issued()}
}

// Connected reports whether the socket is connected. It is false in middleware and in OnDisconnect handlers, and true
// in OnDisconnecting handlers. Nothing can be sent to the socket once its disconnection has been decided.
func (s *Socket) Connected() bool {
	st := s.status.state()
	return st == stateConnected || st == stateLeaving
}

// reachable reports whether packets may be sent to the socket.
func (s *Socket) reachable() bool {
	st := s.status.state()
	return st == stateConnected
}

// Context returns a context that ends when the socket has disconnected or has been refused. Its cause is then a
// *DisconnectError. Handlers and middleware that wait can use it so that they do not outlive their client.
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

// SetData attaches v to the socket. Other nodes of a cluster can read it as JSON with FetchSockets.
func (s *Socket) SetData(v any) {
	x := s.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.data = v
}

// Data returns the value set by SetData, or nil.
func (s *Socket) Data() any {
	x := s.extra.Load()
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.data
}

// BindData decodes the socket's data into the value that dst points to, by way of JSON. Unlike Data, it also works
// after the session has been resumed on another node.
func (s *Socket) BindData(dst any) error {
	data, err := json.Marshal(s.Data())
	if err != nil {
		return err
	}
	return json.Unmarshal(data, dst)
}

// Recovered reports whether the socket has resumed the session of a client that had lost its connection. The id, rooms
// and data are unchanged, and the client receives the missed events.
func (s *Socket) Recovered() bool {
	x := s.extra.Load()
	return x != nil && x.recovered
}

// On registers f for an event of this socket. The handlers of an event are called in the order of registration, after
// those of the namespace. On panics if f is nil or the name is reserved.
func (s *Socket) On(event string, f func(*Event)) { s.handle(event, handler{do: f, keeps: true}) }

// handle implements [Registrar].
func (s *Socket) handle(event string, h handler) { s.more().handlers.add(event, h) }

// Once registers f for the next event with this name.
func (s *Socket) Once(event string, f func(*Event)) {
	s.handle(event, handler{do: f, keeps: true, once: new(sync.Once)})
}

// Off removes the handlers registered on this socket for these events, or all of them if no event is given.
func (s *Socket) Off(events ...string) { s.more().handlers.remove(events...) }

// OnAny registers f to be called with every event of this socket, before event middleware and handlers.
func (s *Socket) OnAny(f func(*Event)) { s.more().handlers.any.add(f, f == nil) }

// PrependAny is like OnAny, but f is called before the functions registered earlier.
func (s *Socket) PrependAny(f func(*Event)) { s.more().handlers.any.prepend(f, f == nil) }

// OffAny removes the functions registered with OnAny and PrependAny on this socket.
func (s *Socket) OffAny() { s.more().handlers.any.clear() }

// OnAnyOutgoing registers f to be called with every event sent to this socket, by Emit or by a broadcast. It is not
// called for acknowledgements. f must not block, and must not keep args.
func (s *Socket) OnAnyOutgoing(f func(event string, args Args)) {
	s.more().outgoing.add(f, f == nil)
}

// PrependAnyOutgoing is like OnAnyOutgoing, but f is called before the functions registered earlier.
func (s *Socket) PrependAnyOutgoing(f func(event string, args Args)) {
	s.more().outgoing.prepend(f, f == nil)
}

// OffAnyOutgoing removes the functions registered with OnAnyOutgoing and PrependAnyOutgoing.
func (s *Socket) OffAnyOutgoing() { s.more().outgoing.clear() }

// Use adds event middleware: f is called with each event of this socket before its handlers. If it returns an error,
// error handlers are called instead. It may change the event with [Event.Replace].
func (s *Socket) Use(f func(*Event) error) { s.more().middleware.add(f, f == nil) }

// OnDisconnecting registers f to be called when the socket is about to leave its rooms.
func (s *Socket) OnDisconnecting(f func(DisconnectReason)) { s.more().disconnecting.add(f, f == nil) }

// OnDisconnect registers f to be called when the socket has disconnected and left its rooms.
func (s *Socket) OnDisconnect(f func(DisconnectReason)) { s.more().disconnect.add(f, f == nil) }

// OnError registers f to be called with errors of this socket. See [Namespace.OnError].
func (s *Socket) OnError(f func(error)) { s.more().errors.add(f, f == nil) }

// Join adds the socket to rooms. Joining twice is harmless; joining after the disconnection does nothing. Join returns
// ErrTooManyRooms if the socket would be in more rooms than allowed.
func (s *Socket) Join(rooms ...string) error {
	if s.status.marked(deaf) {
		return nil // it is about to leave its rooms
	}
	return s.ns.adapter.Add((*member)(s), rooms...)
}

// Leave removes the socket from rooms.
func (s *Socket) Leave(rooms ...string) {
	for _, room := range rooms {
		s.ns.adapter.Remove((*member)(s), room)
	}
}

// Rooms returns the rooms of the socket, including the one named after its id. After the disconnection there are none.
func (s *Socket) Rooms() []string { return s.ns.adapter.Rooms((*member)(s)) }

// Disconnect disconnects the socket from its namespace. If closeConn is true, it also disconnects the client's sockets
// in other namespaces, and closes the connection. Disconnect handlers run on the client's queue; if Disconnect is
// called from a handler, they run after it has returned. Calling Disconnect twice, or in middleware, does nothing.
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

// Emit sends an event to the client. It does not wait for the client; events arrive in the order of the calls.
// Arguments are encoded as parser.AppendArgs does; byte slices anywhere in them become binary attachments. Emit does
// not keep them.
//
// Emit returns ErrDisconnected, a *ReservedEventError, an encoding error, or a transport error if the client was
// disconnected because it reads too slowly. With recovery, Emit on a socket that has lost its connection keeps the
// event as long as the session can be resumed, and returns nil.
//
// Socket.IO protocol v5, "EVENT".
func (s *Socket) Emit(event string, args ...any) error { return s.emitter().Emit(event, args...) }

// EmitWithAck sends an event, waits for the client's acknowledgement and returns it. It may be called from a handler.
// It returns the error of ctx when ctx ends, and ErrDisconnected if the client leaves first.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	return s.emitter().EmitWithAck(ctx, event, args...)
}

func (s *Socket) emitter() Emitter { return Emitter{s: s} }

// Volatile returns an emitter whose packets are dropped if the client cannot receive them immediately; see
// [Broadcast.Volatile].
func (s *Socket) Volatile() Emitter { return s.emitter().Volatile() }

// Compress returns an emitter that sets whether transports may compress its packets.
func (s *Socket) Compress(compress bool) Emitter { return s.emitter().Compress(compress) }

// Timeout returns an emitter that bounds the wait for acknowledgements.
func (s *Socket) Timeout(d time.Duration) Emitter { return s.emitter().Timeout(d) }

// Broadcast selects all other sockets of the namespace.
func (s *Socket) Broadcast() Broadcast { return s.emitter().Broadcast() }

// To selects the other sockets in any of rooms.
func (s *Socket) To(rooms ...string) Broadcast { return s.emitter().To(rooms...) }

// In is the same as To.
func (s *Socket) In(rooms ...string) Broadcast { return s.emitter().To(rooms...) }

// Except selects all other sockets except those in any of rooms.
func (s *Socket) Except(rooms ...string) Broadcast { return s.emitter().Broadcast().Except(rooms...) }

// Local selects all other sockets of this node.
func (s *Socket) Local() Broadcast { return s.emitter().Broadcast().Local() }
