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
	// ErrTimeout is returned with the answers that came in time.
	ErrTimeout = errors.New("adapter: operation has timed out")
	// ErrTooManyRooms is returned by Add for a socket that would be in more rooms than allowed.
	ErrTooManyRooms = errors.New("adapter: too many rooms for one socket")
	// ErrUnsupported is returned for an operation that the adapter has no means for.
	ErrUnsupported = errors.New("adapter: operation not supported")
)

// Options selects sockets of a namespace and says how to treat them.
type Options struct {
	// Rooms is the union of rooms to reach, each socket once. Empty means all sockets.
	Rooms []string
	// Except is the union of rooms to leave out. The id of a socket is a room, too.
	Except []string
	Flags  Flags
}

// Flags modify a broadcast.
type Flags struct {
	// Local keeps the operation on this node.
	Local bool
	// Volatile drops the packet for clients that could not be written to at once.
	Volatile bool
	// NoCompress asks transports not to compress the packet.
	NoCompress bool
	// ExpectSingleResponse is set by operations on one remote socket.
	ExpectSingleResponse bool
	// Timeout bounds the wait for acknowledgements. Zero means that the context alone does.
	Timeout time.Duration
}

// Socket is a socket of this node, as an adapter sees it. Its methods are safe for concurrent use and do
// not block.
type Socket interface {
	ID() string

	// Reachable reports whether packets may be sent to the socket: it is connected.
	Reachable() bool

	// Member is the adapter's own record of the socket. It belongs to the adapter.
	Member() *Member

	// Deliver sends m, which is p encoded, to the socket's client. It may call functions of the application.
	Deliver(p *parser.Packet, m *transport.Message, f Flags)
	// Enqueue is the first half of Deliver: it settles that m is sent behind what the client has been sent so far, and
	// before what comes later. It is called with a lock held and calls no function of the application. p is valid until
	// it returns; m does not change. Flush, the other half, has to be called afterwards, by any goroutine.
	Enqueue(p *parser.Packet, m *transport.Message, f Flags)
	Flush()

	// ExpectAck has ack called with the client's answer to the packet with this id, at most once.
	// DropAck takes that back.
	ExpectAck(id uint64, ack func(parser.Args))
	DropAck(id uint64)

	// Describe returns what other nodes are told of the socket, without Rooms.
	Describe() Description

	// Disconnect takes the socket out of its namespace and, if closeConn is true, closes the client's
	// connection.
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

	// HandleServerSideEmit hands over an event, its name first, that another node emitted. ack is nil
	// if that node wants no answer. It may block.
	HandleServerSideEmit(args parser.Args, ack func(parser.Args))

	// Recovery says what is to be kept for clients that come back after they have lost their connection; nil means
	// nothing. It is the same all the time.
	Recovery() *RecoveryOptions

	// HandleRoomEvent is told of each change to rooms after it has happened.
	HandleRoomEvent(RoomEvent)
}

// RoomEvent is a change to the rooms of this node.
type RoomEvent struct {
	Kind   RoomEventKind
	Room   string
	Socket string // id; empty for RoomCreated and RoomDeleted
}

// RoomEventKind names a change by the reference's word for it.
type RoomEventKind string

const (
	RoomCreated RoomEventKind = "create-room"
	RoomJoined  RoomEventKind = "join-room"
	RoomLeft    RoomEventKind = "leave-room"
	RoomDeleted RoomEventKind = "delete-room"
)

// Description is what nodes tell each other of a socket.
type Description struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"`
	Rooms     []string        `json:"rooms"`
	Data      json.RawMessage `json:"data"`
}

// Session is what outlives a connection, so that a client can resume it.
type Session struct {
	ID    string   // the socket's public id
	PID   string   // the secret with which the client asks for it
	Rooms []string // with the room named after ID
	// Data is the socket's data: the value itself, or its JSON as json.RawMessage if it comes from another
	// node.
	Data any
}

// Restored is a session that a client may resume.
type Restored struct {
	Session

	// Resume calls open, unless the packets that the client has missed are not kept any more, and, if open returns true,
	// puts s, whose id is that of the session by then, into the rooms of the session. It reports whether it has done so; a
	// false with a nil error says that open has returned false, or that there is nothing to resume any more.
	//
	// missed are the packets that the client has missed, oldest first. Packets that are broadcast on this node are either
	// among them or reach s after open has returned: a socket that open makes reachable gets each of them once. open is
	// called with a lock held: it must not block, nor call functions of the application, nor those of the adapter. missed may
	// be used at any time after that, by one goroutine at a time.
	Resume func(ctx context.Context, s Socket, open func(missed iter.Seq[*parser.Packet]) bool) (resumed bool, err error)
}

// Adapter keeps the rooms of one namespace and reaches its sockets on all nodes.
//
// All methods are safe for concurrent use. Methods without a context do not wait for other nodes or for
// the network: what they ask of other nodes happens soon after, at most once; the error they return concerns
// this node alone. Packets, and all that they refer to, are valid until the method returns that they are given to;
// [parser.Packet.Clone] makes one that can be kept. Delivery on this node never waits for other nodes. There is one exception: if packets are kept
// outside this node for clients that come back, Broadcast waits, for a bounded time, until the packet has an offset.
type Adapter interface {
	// Add puts s into rooms; joining twice is harmless. It returns ErrTooManyRooms, having joined
	// those that fit.
	Add(s Socket, rooms ...string) error
	// Remove takes s out of room. It does nothing if s is not in it.
	Remove(s Socket, room string)
	// RemoveAll takes s out of all rooms and forgets it.
	RemoveAll(s Socket)

	// Socket returns a socket of this node that has been added.
	Socket(id string) (Socket, bool)
	// Rooms returns the rooms of s, in no particular order.
	Rooms(s Socket) []string
	// RoomNames returns the rooms of this node, in no particular order, without those that are named after
	// a socket and hold nobody else.
	RoomNames() []string
	// Each calls f for the sockets of this node that o selects until f returns false.
	Each(o Options, f func(Socket) bool)

	// Broadcast sends p, an event without acknowledgement, to the sockets that o selects.
	Broadcast(p *parser.Packet, o Options) error
	// BroadcastWithAck sends p to the sockets that o selects and waits until each has answered. When ctx or
	// o.Flags.Timeout ends the wait it returns the answers that came and ErrTimeout or the context's error.
	BroadcastWithAck(ctx context.Context, p *parser.Packet, o Options) ([]parser.Args, error)

	// FetchSockets describes the sockets that o selects on all nodes.
	FetchSockets(ctx context.Context, o Options) ([]Description, error)
	// AddSockets puts the sockets that o selects into rooms.
	AddSockets(o Options, rooms ...string) error
	// RemoveSockets takes the sockets that o selects out of rooms.
	RemoveSockets(o Options, rooms ...string) error
	// DisconnectSockets disconnects the sockets that o selects.
	DisconnectSockets(o Options, closeConn bool) error

	// ServerSideEmit sends an event, its name first, to the other nodes.
	ServerSideEmit(args parser.Args) error
	// ServerSideEmitWithAck does so and waits for one answer of each. When ctx ends the wait it returns
	// the answers that came and ErrTimeout.
	ServerSideEmitWithAck(ctx context.Context, args parser.Args) ([]parser.Args, error)
	// ServerCount is the number of nodes, this one included.
	ServerCount(ctx context.Context) (int, error)

	// Recovers reports whether sessions can be restored. It is the same all the time. If not, PersistSession and
	// RestoreSession do nothing.
	Recovers() bool
	// PersistSession keeps s for a client that may come back.
	PersistSession(s *Session) error
	// RestoreSession returns the session with this secret if its client can be sent all packets after offset, and
	// otherwise nil.
	RestoreSession(ctx context.Context, pid, offset string) (*Restored, error)

	// Close releases what the adapter holds. The sockets are the namespace's business.
	Close(ctx context.Context) error
}

// Factory makes the adapter of a namespace when the namespace is created. It does not block: an adapter that
// has to connect somewhere does so in the background, and serves this node meanwhile.
type Factory func(Namespace) Adapter
