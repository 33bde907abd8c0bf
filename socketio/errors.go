package socketio

import (
	"errors"
	"fmt"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

var (
	// ErrDisconnected reports an operation on a socket that is not connected.
	ErrDisconnected = errors.New("socketio: socket is not connected")
	// ErrNoDeadline is returned by a broadcast with acknowledgements if neither its context nor Timeout sets a
	// deadline. A client that leaves never answers, so nothing would end the wait.
	ErrNoDeadline = errors.New("socketio: a broadcast with acknowledgements needs a deadline")
	// ErrNotAsked is returned by Event.Ack if the client did not request an acknowledgement.
	ErrNotAsked = errors.New("socketio: no acknowledgement was requested")
	// ErrAcked is returned by Event.Ack if the event has already been acknowledged.
	ErrAcked = errors.New("socketio: event is already acknowledged")
	// ErrTimeout is returned when Timeout ends the wait for acknowledgements.
	ErrTimeout = adapter.ErrTimeout
	// ErrTooManyRooms is returned by Join if the socket would be in more rooms than allowed.
	ErrTooManyRooms = adapter.ErrTooManyRooms
	// ErrForbidden may be returned by Options.AllowRequest to refuse a request without giving a reason.
	ErrForbidden = engineio.ErrForbidden
)

// ReservedEventError reports an event whose name has a meaning of its own and cannot be emitted or handled.
type ReservedEventError = parser.ReservedEventError

func checkEvent(name string) error {
	if parser.ReservedEvent(name) {
		return &ReservedEventError{Event: name}
	}
	return nil
}

// ConnectError is returned by middleware to refuse a connection with data. Any other error refuses it with the error's
// text alone.
//
// Socket.IO protocol v5, "CONNECT_ERROR".
type ConnectError struct {
	Message string // becomes the message of the client's Error
	Data    any    // becomes its data; nil means none
}

// Error returns Message.
func (e *ConnectError) Error() string { return e.Message }

// BindError reports that the arguments of an event do not fit a typed handler. Error handlers receive it.
type BindError struct {
	Event string
	Err   error
}

// Error implements error.
func (e *BindError) Error() string {
	return fmt.Sprintf("socketio: arguments of event %q: %v", e.Event, e.Err)
}

// Unwrap returns Err.
func (e *BindError) Unwrap() error { return e.Err }

// DisconnectError is the cause of the context of a disconnected socket. errors.Is matches it with ErrDisconnected, and
// with Err.
type DisconnectError struct {
	Reason DisconnectReason
	Err    error // details of TransportError; otherwise nil
}

// Error implements error.
func (e *DisconnectError) Error() string {
	if e.Err != nil {
		return "socketio: disconnected: " + string(e.Reason) + ": " + e.Err.Error()
	}
	return "socketio: disconnected: " + string(e.Reason)
}

// Unwrap returns ErrDisconnected and, if it is not nil, Err.
func (e *DisconnectError) Unwrap() []error {
	if e.Err != nil {
		return []error{ErrDisconnected, e.Err}
	}
	return []error{ErrDisconnected}
}

// DisconnectReason says why a socket was disconnected. The values are the same as in the reference.
type DisconnectReason string

const (
	// TransportClose: the client's connection was closed, by the client or by the network.
	TransportClose DisconnectReason = "transport close"
	// TransportError: the client's connection failed, or the client broke the rules of its transport.
	TransportError DisconnectReason = "transport error"
	// PingTimeout: the client did not answer a ping in time.
	PingTimeout DisconnectReason = "ping timeout"
	// ParseError: the client sent an undecodable Engine.IO packet.
	ParseError DisconnectReason = "parse error"
	// ForcedClose: the session was closed on this side, or the client sent an undecodable Socket.IO packet.
	ForcedClose DisconnectReason = "forced close"
	// ForcedServerClose: the client sent a packet that its state does not allow.
	ForcedServerClose DisconnectReason = "forced server close"
	// ServerNamespaceDisconnect: Socket.Disconnect or DisconnectSockets was called.
	ServerNamespaceDisconnect DisconnectReason = "server namespace disconnect"
	// ClientNamespaceDisconnect: the client left the namespace.
	ClientNamespaceDisconnect DisconnectReason = "client namespace disconnect"
	// ServerShuttingDown: the server was closed.
	ServerShuttingDown DisconnectReason = "server shutting down"
)
