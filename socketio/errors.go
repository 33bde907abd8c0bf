package socketio

import (
	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/namespace"
)

// Why a socket was disconnected. See package namespace for what each means.
const (
	TransportClose            = namespace.TransportClose
	TransportError            = namespace.TransportError
	PingTimeout               = namespace.PingTimeout
	ParseError                = namespace.ParseError
	ForcedClose               = namespace.ForcedClose
	ForcedServerClose         = namespace.ForcedServerClose
	ServerNamespaceDisconnect = namespace.ServerNamespaceDisconnect
	ClientNamespaceDisconnect = namespace.ClientNamespaceDisconnect
	ServerShuttingDown        = namespace.ServerShuttingDown
)

// DisconnectError is the cause with which the context of a socket ends.
type DisconnectError = namespace.DisconnectError

// ReservedEventError is returned for the emission of an event whose name has a meaning of its own.
type ReservedEventError = namespace.ReservedEventError

// Errors that handlers meet.
var (
	ErrDisconnected = namespace.ErrDisconnected // the socket is not connected
	ErrNoDeadline   = namespace.ErrNoDeadline   // a broadcast with acknowledgements needs one
	ErrNotAsked     = namespace.ErrNotAsked     // the client does not want an acknowledgement
	ErrAcked        = namespace.ErrAcked        // the event is acknowledged already
	ErrForbidden    = engineio.ErrForbidden     // for AllowRequest: refuse without saying why
	ErrTimeout      = adapter.ErrTimeout        // Timeout has ended the wait for acknowledgements
)
