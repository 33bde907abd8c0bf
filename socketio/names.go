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
	// Message is a message of a transport. [Options.InitialPacket] is a shared one.
	Message = transport.Message
	// ConnectionError describes a refused request. See [Options.OnConnectionError].
	ConnectionError = engineio.ConnectionError
	// CORS is a policy for cross-origin requests. See [Options.CORS].
	CORS = engineio.CORS
	// Cookie configures a cookie with the session id. See [Options.Cookie].
	Cookie = engineio.Cookie
	// HTTPCompression selects the responses to polls that are compressed. See [Options.HTTPCompression].
	HTTPCompression = engineio.HTTPCompression
	// PerMessageDeflate configures the compression of WebSocket messages. See [Options.PerMessageDeflate].
	PerMessageDeflate = epoll.PerMessageDeflate

	// Args is a list of arguments, of an event or an acknowledgement.
	Args = parser.Args
	// Value is one received argument.
	Value = parser.Value

	// RoomEvent is a change to the rooms of this node. See [Namespace.OnRoomEvent].
	RoomEvent = adapter.RoomEvent
	// RoomEventKind is the kind of a RoomEvent.
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
