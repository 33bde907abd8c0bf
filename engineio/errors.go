package engineio

import (
	"errors"
	"net/http"

	"github.com/myriad-rt/myriad/transport"
)

var (
	// ErrClosed is returned for what is sent after a session has begun to close.
	ErrClosed = errors.New("engineio: session closed")
	// ErrSlowPeer is returned when more than Options.MaxQueuedBytes would wait for a client; it closes the session.
	ErrSlowPeer = transport.ErrSlowPeer
	// ErrForbidden is what Options.AllowRequest may return to refuse a client without saying why.
	ErrForbidden = errors.New("Forbidden")
)

// CloseReason says why a session has ended, in the words of the reference.
type CloseReason string

const (
	// TransportClose: the client closed the session or its connection.
	TransportClose CloseReason = "transport close"
	// TransportError: the connection failed or the client broke the rules of the transport.
	TransportError CloseReason = "transport error"
	// PingTimeout: the client did not answer a ping in time, or did not send one where that is its part.
	PingTimeout CloseReason = "ping timeout"
	// ParseError: the client sent what is not an Engine.IO packet.
	ParseError CloseReason = "parse error"
	// ForcedClose: the server closed the session.
	ForcedClose CloseReason = "forced close"
)

// What makes a session end with TransportError or ParseError, apart from errors of its transport.
var (
	errHeartbeat = errors.New("invalid heartbeat direction")
)

// Code is the number of a reason for which a request is refused.
type Code int

const (
	CodeUnknownTransport   Code = 0
	CodeUnknownSession     Code = 1
	CodeBadMethod          Code = 2
	CodeBadRequest         Code = 3
	CodeForbidden          Code = 4
	CodeUnsupportedVersion Code = 5
)

var codeTexts = [...]string{
	CodeUnknownTransport:   "Transport unknown",
	CodeUnknownSession:     "Session ID unknown",
	CodeBadMethod:          "Bad handshake method",
	CodeBadRequest:         "Bad request",
	CodeForbidden:          "Forbidden",
	CodeUnsupportedVersion: "Unsupported protocol version",
}

// String returns the message that stands beside the code in the answer.
func (c Code) String() string { return codeTexts[c] }

// ConnectionError describes a request that was refused.
type ConnectionError struct {
	Request *http.Request // must not be used after the hook has returned
	Code    Code
	Message string // the text that belongs to Code
	// Context has what the reference gives: "name", "transport", "previousTransport", "protocol",
	// "previousProtocol", "sid", "method", "origin", "message", "error", each where it applies.
	Context map[string]any
	// Err is what a function of the application returned, if that was the reason.
	Err error

	answer string // what the client is told, if not Message
}

// Error implements error.
func (e *ConnectionError) Error() string { return "engineio: " + e.Message }

// Unwrap returns Err.
func (e *ConnectionError) Unwrap() error { return e.Err }

func refusal(r *http.Request, code Code, context map[string]any) *ConnectionError {
	return &ConnectionError{Request: r, Code: code, Message: code.String(), Context: context}
}
