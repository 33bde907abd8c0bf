package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

var (
	// ErrTimeout reports that answers are missing. It is returned together with the answers received in time.
	ErrTimeout = errors.New("adapter: operation has timed out")
	// ErrTooManyRooms is returned by Add if the socket would exceed the maximum number of rooms.
	ErrTooManyRooms = errors.New("adapter: too many rooms for one socket")
	// ErrUnsupported reports an operation that the adapter does not support.
	ErrUnsupported = errors.New("adapter: operation not supported")
)

// Options selects sockets of a namespace and holds the flags of an operation.
type Options struct {
	// Rooms is the union of rooms to reach, each socket once. Empty means all sockets.
	Rooms []string
	// Except is the union of rooms to exclude. The id of a socket is a room, too.
	Except []string
	Flags  Flags
}

// Flags modify a broadcast.
type Flags struct {
	// Local restricts the operation to this node.
	Local bool
	// Volatile drops the packet for clients that cannot receive it immediately.
	Volatile bool
	// NoCompress asks transports not to compress the packet.
	NoCompress bool
	// ExpectSingleResponse is set by operations on one remote socket.
	ExpectSingleResponse bool
	// Timeout limits the wait for acknowledgements. Zero means that only the context limits it.
	Timeout time.Duration
}

// Socket is a socket of this node, as an adapter sees it. Its methods are safe for concurrent use and do
// not block.
type Socket interface {
	ID() string

	// Reachable reports whether packets may be sent to the socket: it is connected.
	Reachable() bool

	// Member returns the adapter's record of the socket. Only the adapter may use it.
	Member() *Member

	// Deliver sends m, which is p encoded, to the socket's client. It may call functions of the application.
	Deliver(p *parser.Packet, m *transport.Message, f Flags)
	// Enqueue is the first half of Deliver. It fixes the position of m among the client's packets. It may be called with a
	// lock held, and calls no function of the application. p is valid until it returns; m is immutable. The caller must
	// then call Flush, the second half, on any goroutine.
	Enqueue(p *parser.Packet, m *transport.Message, f Flags)
	Flush()

	// ExpectAck arranges for ack to be called at most once, with the client's answer to the packet with this id.
	// DropAck cancels that.
	ExpectAck(id uint64, ack func(parser.Args))
	DropAck(id uint64)

	// Describe returns the description of the socket for other nodes, without Rooms.
	Describe() Description

	// Disconnect disconnects the socket from its namespace and, if closeConn is true, closes the client's connection.
	Disconnect(closeConn bool)
}

// Namespace is a namespace of this node, as its adapter sees it. Its methods are safe for concurrent use.
type Namespace interface {
	// Name is the name with its leading slash.
	Name() string

	// Encode encodes p for any number of clients, to be sent as f says. The message is shared. It may be called with a lock
	// held.
	Encode(p *parser.Packet, f Flags) (*transport.Message, error)

	// NextAckID returns a fresh acknowledgement id.
	NextAckID() uint64

	// HandleServerSideEmit handles an event emitted by another node. The first of args is its name. ack is nil if that node
	// wants no answer. It may block.
	HandleServerSideEmit(args parser.Args, ack func(parser.Args))

	// Recovery returns the options for connection state recovery, or nil if it is disabled. The result never changes.
	Recovery() *RecoveryOptions

	// HandleRoomEvent is called after each change to rooms.
	HandleRoomEvent(RoomEvent)
}

// RoomEvent is a change to the rooms of this node.
type RoomEvent struct {
	Kind   RoomEventKind
	Room   string
	Socket string // id; empty for RoomCreated and RoomDeleted
}

// RoomEventKind is the reference's name for a change to rooms.
type RoomEventKind string

const (
	RoomCreated RoomEventKind = "create-room"
	RoomJoined  RoomEventKind = "join-room"
	RoomLeft    RoomEventKind = "leave-room"
	RoomDeleted RoomEventKind = "delete-room"
)

// Description describes a socket to other nodes.
type Description struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"`
	Rooms     []string        `json:"rooms"`
	Data      json.RawMessage `json:"data"`
}

// Session is the state that a client needs to resume after it has lost its connection.
type Session struct {
	ID    string   // the socket's public id
	PID   string   // the secret with which the client requests it
	Rooms []string // including the room named after ID
	// Data is the socket's data: the value itself, or its JSON as json.RawMessage if it comes from another node.
	Data any
}

// Restored is a session that a client may resume.
type Restored struct {
	Session

	// Resume calls open with the packets that the client has missed, oldest first, unless they are no longer stored. If open
	// returns true, Resume adds s, which has the id of the session by then, to the rooms of the session, and returns true.
	// If open returns false, or if the session can no longer be resumed, Resume returns false and a nil error.
	//
	// A packet broadcast on this node is either among the missed ones or reaches s after open has returned, so a socket
	// that open makes reachable receives each packet once. open is called with a lock held: it must not block, and must not
	// call functions of the application or methods of the adapter. missed may be used afterwards, by one goroutine at a
	// time.
	Resume func(ctx context.Context, s Socket, open func(missed iter.Seq[*parser.Packet]) bool) (resumed bool, err error)
}

// Adapter keeps the rooms of one namespace and reaches its sockets on all nodes.
//
// All methods are safe for concurrent use. Methods without a context do not wait for other nodes or for the network: other
// nodes perform the operation soon after, at most once, and the returned error concerns this node only. A packet and its
// data need to be valid only until the method returns; [parser.Packet.Clone] makes a copy to keep. Delivery on this node
// never waits for other nodes, with one exception: if packets are stored outside this node for returning clients, Broadcast
// waits for a limited time until the packet has an offset.
type Adapter interface {
	// Add adds s to rooms; joining twice is harmless. If s exceeds the maximum number of rooms, Add joins as many as
	// allowed and returns ErrTooManyRooms.
	Add(s Socket, rooms ...string) error
	// Remove removes s from room. It does nothing if s is not in it.
	Remove(s Socket, room string)
	// RemoveAll removes s from all rooms and forgets it.
	RemoveAll(s Socket)

	// Socket returns a socket of this node that has been added.
	Socket(id string) (Socket, bool)
	// Rooms returns the rooms of s, in no particular order.
	Rooms(s Socket) []string
	// RoomNames returns the rooms of this node, in no particular order. It omits a room named after a socket if it has no
	// other member.
	RoomNames() []string
	// Each calls f for the sockets of this node that o selects until f returns false.
	Each(o Options, f func(Socket) bool)

	// Broadcast sends p, an event without acknowledgement, to the sockets that o selects.
	Broadcast(p *parser.Packet, o Options) error
	// BroadcastWithAck sends p to the sockets that o selects and waits until each has answered. If ctx or
	// o.Flags.Timeout ends the wait, it returns the answers so far and ErrTimeout or the context's error.
	BroadcastWithAck(ctx context.Context, p *parser.Packet, o Options) ([]parser.Args, error)

	// FetchSockets describes the sockets that o selects on all nodes.
	FetchSockets(ctx context.Context, o Options) ([]Description, error)
	// AddSockets adds the sockets that o selects to rooms.
	AddSockets(o Options, rooms ...string) error
	// RemoveSockets removes the sockets that o selects from rooms.
	RemoveSockets(o Options, rooms ...string) error
	// DisconnectSockets disconnects the sockets that o selects.
	DisconnectSockets(o Options, closeConn bool) error

	// ServerSideEmit sends an event to the other nodes. The first argument is its name.
	ServerSideEmit(args parser.Args) error
	// ServerSideEmitWithAck also waits for one answer of each node. If ctx ends the wait, it returns the answers so far
	// and ErrTimeout.
	ServerSideEmitWithAck(ctx context.Context, args parser.Args) ([]parser.Args, error)
	// ServerCount returns the number of nodes, including this one.
	ServerCount(ctx context.Context) (int, error)

	// Recovers reports whether sessions can be restored. The result never changes. If it is false, PersistSession and
	// RestoreSession do nothing.
	Recovers() bool
	// PersistSession stores s for a client that may return.
	PersistSession(s *Session) error
	// RestoreSession returns the session with this secret if its client can be sent all packets after offset, and
	// otherwise nil.
	RestoreSession(ctx context.Context, pid, offset string) (*Restored, error)

	// Close releases the resources of the adapter. It does not close sockets.
	Close(ctx context.Context) error
}

// Factory creates the adapter of a new namespace. It does not block: an adapter connects in the background and serves this
// node meanwhile.
type Factory func(Namespace) Adapter
