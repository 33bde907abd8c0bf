package socketio

import (
	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/epoll"
)

// The names of other packages that programs need, so that they need to import this package only.
type (
	// Session is the Engine.IO session of a client: one connection, across transports.
	Session = engineio.Session
	// Request is the HTTP request that opened a session.
	Request = engineio.Request
	// Hooks observe sessions. See [Options.Hooks] and [engineio.Session.SetHooks].
	Hooks = engineio.Hooks
	// CloseReason says why a session ended, in Hooks.
	CloseReason = engineio.CloseReason
	// Packet is an Engine.IO packet, in Hooks.
	Packet = packet.Packet
	// Message is what a transport carries: a shared one is the type of Options.InitialPacket.
	Message = transport.Message
	// ConnectionError says why a request was refused. See [Options.OnConnectionError].
	ConnectionError = engineio.ConnectionError
	// CORS says which origins may use the server from a browser. See [Options.CORS].
	CORS = engineio.CORS
	// Cookie describes the cookie with the id of a session. See [Options.Cookie].
	Cookie = engineio.Cookie
	// HTTPCompression says which responses to polls are compressed. See [Options.HTTPCompression].
	HTTPCompression = engineio.HTTPCompression
	// PerMessageDeflate configures the compression of messages over WebSocket. See [Options.PerMessageDeflate].
	PerMessageDeflate = epoll.PerMessageDeflate

	// Args is a list of arguments: those of an event, or of an acknowledgement.
	Args = parser.Args
	// Value is one received argument.
	Value = parser.Value

	// RoomEvent is a change to the rooms of this node. See [Namespace.OnRoomEvent].
	RoomEvent = adapter.RoomEvent
	// RoomEventKind names a change to rooms.
	RoomEventKind = adapter.RoomEventKind
)

// The changes to rooms.
const (
	RoomCreated = adapter.RoomCreated // by the first socket in it
	RoomJoined  = adapter.RoomJoined
	RoomLeft    = adapter.RoomLeft
	RoomDeleted = adapter.RoomDeleted // by the last socket in it
)

// NewMessagePack returns a parser for [Options.Parser] that encodes packets as MessagePack, as the npm package
// socket.io-msgpack-parser does.
var NewMessagePack = parser.NewMessagePack
