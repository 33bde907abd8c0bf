package socketio

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/namespace"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// Namespace is a set of sockets with its own middleware, handlers and rooms. All methods are safe for concurrent use.
//
// Handlers and middleware of a namespace cost nothing per socket. They apply to sockets that connect, and events that
// arrive, after the registration. They may block: only their client waits.
type Namespace struct {
	space
}

// space is the common part of a [Namespace] and a [Server], which is the namespace "/".
type space struct {
	server  *Server
	name    string
	entry   *namespace.Entry[*Namespace]  // nil for the parent of dynamic namespaces
	parent  *namespace.Parent[*Namespace] // set for a parent of dynamic namespaces
	adapter adapter.Adapter
	ackID   atomic.Uint64

	handlers      handlers
	middleware    list[func(*Socket) error]
	connect       list[func(*Socket)]
	disconnecting list[func(*Socket, DisconnectReason)]
	disconnect    list[func(*Socket, DisconnectReason)]
	errors        list[func(*Socket, error)]
	rooms         list[func(RoomEvent)]
	serverEvents  serverHandlers
}

// newNamespace makes the namespace of e.
func (s *Server) newNamespace(e *namespace.Entry[*Namespace]) *Namespace {
	n := &Namespace{space{server: s, name: e.Name(), entry: e}}
	n.adapter = s.opts.Adapter((*node)(&n.space))
	if p := e.Parent(); p != nil {
		n.inherit(p.Namespace())
	}
	return n
}

// Name returns the name with its leading slash. Parents of dynamic namespaces are named "/_0", "/_1" and so on.
func (n *space) Name() string { return n.name }

// Adapter returns the adapter of the namespace.
func (n *space) Adapter() adapter.Adapter { return n.adapter }

// Use adds middleware, which is called for each socket before it connects, in the order of registration. It may block.
// The first error refuses the socket: the client receives CONNECT_ERROR with the text of the error, or the content of a
// *ConnectError. The client's connection stays open.
func (n *space) Use(m func(*Socket) error) { n.middleware.add(m, m == nil) }

// OnConnect registers f to be called with each new socket once it has connected.
func (n *space) OnConnect(f func(*Socket)) { n.connect.add(f, f == nil) }

// OnDisconnecting registers f to be called when a socket of the namespace is about to leave its rooms.
func (n *space) OnDisconnecting(f func(*Socket, DisconnectReason)) {
	n.disconnecting.add(f, f == nil)
}

// OnDisconnect registers f to be called when a socket of the namespace has disconnected.
func (n *space) OnDisconnect(f func(*Socket, DisconnectReason)) { n.disconnect.add(f, f == nil) }

// OnError registers f to be called with errors of the sockets of the namespace: an error returned by event middleware,
// a *BindError, or the error of an invalid packet.
func (n *space) OnError(f func(*Socket, error)) { n.errors.add(f, f == nil) }

// OnRoomEvent registers f to be called after each change to the rooms of this node. f must not block. A panic is
// logged.
func (n *space) OnRoomEvent(f func(RoomEvent)) { n.rooms.add(f, f == nil) }

// On registers f for an event of all sockets of the namespace. The handlers of an event are called in the order of
// registration, those of the namespace before those of the socket. On panics if f is nil or the name is reserved.
func (n *space) On(event string, f func(*Event)) { n.handle(event, handler{do: f, keeps: true}) }

// handle implements [Registrar].
func (n *space) handle(event string, h handler) { n.handlers.add(event, h) }

// Off removes the handlers registered with On for these events, or all of them if no event is given.
func (n *space) Off(events ...string) { n.handlers.remove(events...) }

// OnAny registers f to be called with every event of every socket, before event middleware and handlers.
func (n *space) OnAny(f func(*Event)) { n.handlers.any.add(f, f == nil) }

// OffAny removes the functions registered with OnAny.
func (n *space) OffAny() { n.handlers.any.clear() }

// Emit sends an event to all sockets of the namespace. See [Broadcast.Emit].
func (n *space) Emit(event string, args ...any) error { return n.all().Emit(event, args...) }

// EmitWithAck sends an event to all sockets and waits for their acknowledgements. See [Broadcast.EmitWithAck].
func (n *space) EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	return n.all().EmitWithAck(ctx, event, args...)
}

func (n *space) all() Broadcast { return Broadcast{ns: n} }

// To selects the sockets in any of rooms.
func (n *space) To(rooms ...string) Broadcast { return n.all().To(rooms...) }

// In is the same as To.
func (n *space) In(rooms ...string) Broadcast { return n.all().To(rooms...) }

// Except selects all sockets except those in any of rooms.
func (n *space) Except(rooms ...string) Broadcast { return n.all().Except(rooms...) }

// Local selects all sockets of this node.
func (n *space) Local() Broadcast { return n.all().Local() }

// Volatile selects all sockets for packets that may be dropped. See [Broadcast.Volatile].
func (n *space) Volatile() Broadcast { return n.all().Volatile() }

// Compress selects all sockets. See [Broadcast.Compress].
func (n *space) Compress(compress bool) Broadcast { return n.all().Compress(compress) }

// Timeout selects all sockets. See [Broadcast.Timeout].
func (n *space) Timeout(d time.Duration) Broadcast { return n.all().Timeout(d) }

// FetchSockets returns the sockets of all nodes.
func (n *space) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	return n.all().FetchSockets(ctx)
}

// SocketsJoin adds all sockets to rooms.
func (n *space) SocketsJoin(rooms ...string) error { return n.all().SocketsJoin(rooms...) }

// SocketsLeave removes all sockets from rooms.
func (n *space) SocketsLeave(rooms ...string) error { return n.all().SocketsLeave(rooms...) }

// DisconnectSockets disconnects all sockets. See [Broadcast.DisconnectSockets].
func (n *space) DisconnectSockets(closeConn bool) error {
	return n.all().DisconnectSockets(closeConn)
}

// Socket returns the connected socket with this id on this node.
func (n *space) Socket(id string) (*Socket, bool) {
	s, ok := n.adapter.Socket(id)
	if !ok || !s.Reachable() {
		return nil, false
	}
	return socketOf(s), true
}

// Rooms returns the names of the rooms on this node, in no particular order. It omits rooms that are named after a
// socket and contain no other socket.
func (n *space) Rooms() []string { return n.adapter.RoomNames() }

// Sockets returns the connected sockets of this node, in no particular order.
func (n *space) Sockets() []*Socket { return n.all().Sockets() }

// node is a namespace as its adapter sees it.
type node space

var _ adapter.Namespace = (*node)(nil)

func (n *node) Name() string { return n.name }

func (n *node) Recovery() *adapter.RecoveryOptions { return n.server.opts.Recovery.kept() }

func (n *node) NextAckID() uint64 { return (*space)(n).nextAckID() }

func (n *node) Encode(p *parser.Packet, f adapter.Flags) (*transport.Message, error) {
	m, err := parser.EncodeMessage(n.server.opts.Parser, p)
	if err != nil {
		return nil, err
	}
	if m != p.Message {
		defer m.Release()
	}
	m.NoCompress = f.NoCompress
	return m.Share(), nil
}

func (n *node) HandleServerSideEmit(args parser.Args, ack func(parser.Args)) {
	(*space)(n).serverSideEvent(args, ack)
}

func (n *node) HandleRoomEvent(e RoomEvent) {
	for _, f := range n.rooms.all() {
		n.tell(f, e)
	}
}

// tell calls f, which may belong to no client, and in the middle of a change that has to be brought to its end.
func (n *node) tell(f func(RoomEvent), e RoomEvent) {
	defer func() {
		if p := recover(); p != nil {
			n.server.opts.Logger.Error("handler of a room event panicked", "namespace", n.name, "room", e.Room,
				"panic", p, "stack", string(debug.Stack()))
		}
	}()
	f(e)
}

// nextAckID returns 0 first: ids count from zero, as with the reference.
func (n *space) nextAckID() uint64 { return n.ackID.Add(1) - 1 }
