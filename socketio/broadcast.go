package socketio

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Broadcast selects sockets of a namespace, and sends to them. It is an immutable value: every method that refines it
// returns a new one, so a Broadcast can be stored and used concurrently.
//
// Without rooms, it selects all sockets of the namespace. With rooms, it selects the sockets in any of them, each once.
// Sockets in a room of Except are never selected. Each socket is in a room named after its id.
type Broadcast struct {
	ns   *space
	opts adapter.Options
}

// To adds rooms to the selection.
func (b Broadcast) To(rooms ...string) Broadcast {
	b.opts.Rooms = append(slices.Clip(b.opts.Rooms), rooms...)
	return b
}

// In is the same as To.
func (b Broadcast) In(rooms ...string) Broadcast { return b.To(rooms...) }

// Except excludes the sockets that are in any of rooms.
func (b Broadcast) Except(rooms ...string) Broadcast {
	b.opts.Except = append(slices.Clip(b.opts.Except), rooms...)
	return b
}

// Local restricts the operation to this node of a cluster.
func (b Broadcast) Local() Broadcast {
	b.opts.Flags.Local = true
	return b
}

// Volatile drops the packet for clients that cannot receive it immediately: bytes are queued for them, a polling client
// has no request waiting, or their own handler is running (for at most a few milliseconds) and has already sent them
// something.
func (b Broadcast) Volatile() Broadcast {
	b.opts.Flags.Volatile = true
	return b
}

// Compress sets whether transports may compress the packet. They may by default.
func (b Broadcast) Compress(compress bool) Broadcast {
	b.opts.Flags.NoCompress = !compress
	return b
}

// Timeout bounds the wait for acknowledgements. Zero means that only the context bounds it.
func (b Broadcast) Timeout(d time.Duration) Broadcast {
	b.opts.Flags.Timeout = d
	return b
}

// Emit sends an event to the selected sockets. It does not wait for clients. Arguments are encoded as
// [parser.AppendArgs] does; byte slices anywhere in them become binary attachments. They are not kept.
//
// It returns a *ReservedEventError, an error of the encoding, or one of the adapter.
func (b Broadcast) Emit(event string, args ...any) error {
	p, err := b.packet(event, args)
	if err != nil {
		return err
	}
	defer p.Release()
	return b.ns.adapter.Broadcast(p, b.opts)
}

// EmitWithAck sends an event to the selected sockets and waits until each client has acknowledged it. It returns the
// arguments of each acknowledgement in the order of arrival. If ctx or Timeout ends the wait, it returns those received
// so far, and ErrTimeout or the error of ctx.
//
// The result does not tell which socket sent an acknowledgement: nodes of a cluster exchange the arguments alone, as in
// the reference. If that matters, clients must include their id in the acknowledgement.
//
// A deadline is required, in ctx or by Timeout; otherwise EmitWithAck returns ErrNoDeadline and sends nothing.
func (b Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	if _, ok := ctx.Deadline(); !ok && b.opts.Flags.Timeout <= 0 {
		return nil, ErrNoDeadline
	}
	p, err := b.packet(event, args)
	if err != nil {
		return nil, err
	}
	defer p.Release()
	return b.ns.adapter.BroadcastWithAck(ctx, p, b.opts)
}

// FetchSockets returns the selected sockets of all nodes.
func (b Broadcast) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	found, err := b.ns.adapter.FetchSockets(ctx, b.opts)
	sockets := make([]RemoteSocket, len(found))
	for i, d := range found {
		sockets[i] = RemoteSocket{ns: b.ns, d: d}
	}
	return sockets, err
}

// Sockets returns the selected sockets of this node, in no particular order.
func (b Broadcast) Sockets() []*Socket {
	var sockets []*Socket
	b.ns.adapter.Each(b.opts, func(s adapter.Socket) bool {
		sockets = append(sockets, socketOf(s))
		return true
	})
	return sockets
}

// SocketsJoin adds the selected sockets to rooms.
func (b Broadcast) SocketsJoin(rooms ...string) error {
	return b.ns.adapter.AddSockets(b.opts, rooms...)
}

// SocketsLeave removes the selected sockets from rooms.
func (b Broadcast) SocketsLeave(rooms ...string) error {
	return b.ns.adapter.RemoveSockets(b.opts, rooms...)
}

// DisconnectSockets disconnects the selected sockets from the namespace and, if closeConn is true, closes
// the connections of their clients.
func (b Broadcast) DisconnectSockets(closeConn bool) error {
	return b.ns.adapter.DisconnectSockets(b.opts, closeConn)
}

func (b Broadcast) packet(event string, args []any) (*parser.Packet, error) {
	if err := checkEvent(event); err != nil {
		return nil, err
	}
	return parser.NewEvent(b.ns.name, event, args)
}

// RemoteSocket is a socket of any node, as returned by FetchSockets.
type RemoteSocket struct {
	ns *space
	d  adapter.Description
}

// ID returns the id of the socket.
func (r RemoteSocket) ID() string { return r.d.ID }

// Rooms returns the rooms of the socket at the time of FetchSockets.
func (r RemoteSocket) Rooms() []string { return slices.Clone(r.d.Rooms) }

// BindData decodes the socket's data, as set by SetData on its node, into the value that dst points to.
func (r RemoteSocket) BindData(dst any) error { return json.Unmarshal(r.d.Data, dst) }

// Handshake returns the details of the socket's handshake.
func (r RemoteSocket) Handshake() (HandshakeDetails, error) {
	var h HandshakeDetails
	err := json.Unmarshal(r.d.Handshake, &h)
	return h, err
}

func (r RemoteSocket) self() Broadcast {
	b := r.ns.To(r.d.ID)
	b.opts.Flags.ExpectSingleResponse = true
	return b
}

// Emit sends an event to the socket.
func (r RemoteSocket) Emit(event string, args ...any) error { return r.self().Emit(event, args...) }

// EmitWithAck sends an event to the socket and waits for its acknowledgement. A deadline is required.
func (r RemoteSocket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	answers, err := r.self().EmitWithAck(ctx, event, args...)
	if err != nil || len(answers) == 0 {
		if err == nil {
			err = ErrDisconnected
		}
		return Args{}, err
	}
	return answers[0], nil
}

// Join adds the socket to rooms.
func (r RemoteSocket) Join(rooms ...string) error { return r.self().SocketsJoin(rooms...) }

// Leave removes the socket from rooms.
func (r RemoteSocket) Leave(rooms ...string) error { return r.self().SocketsLeave(rooms...) }

// Disconnect disconnects the socket from its namespace. If closeConn is true, it also closes the client's connection.
func (r RemoteSocket) Disconnect(closeConn bool) error { return r.self().DisconnectSockets(closeConn) }
