package engineio

import (
	"errors"
	"net/http"

	"github.com/myriad-rt/myriad/transport"
)

var (
	// ErrClosed reports that a session is closing or closed.
	ErrClosed = errors.New("engineio: session closed")
	// ErrSlowPeer reports that a session was closed because too many bytes were queued for its client; see
	// Options.MaxQueuedBytes and Options.MaxQueuedBytesTotal.
	ErrSlowPeer = transport.ErrSlowPeer
	// ErrForbidden may be returned by Options.AllowRequest to refuse a client without giving a reason.
	ErrForbidden = errors.New("Forbidden")
)

// CloseReason says why a session has ended, in the words of the reference.
type CloseReason string

const (
	// TransportClose: the client closed the session or its connection.
	TransportClose CloseReason = "transport close"
	// TransportError: the connection failed or the client broke the rules of the transport.
	TransportError CloseReason = "transport error"
	// PingTimeout: the client did not answer a ping in time or, in protocol v3, did not send one in time.
	PingTimeout CloseReason = "ping timeout"
	// ParseError: the client sent an invalid Engine.IO packet.
	ParseError CloseReason = "parse error"
	// ForcedClose: the server closed the session.
	ForcedClose CloseReason = "forced close"
)

// errHeartbeat reports a ping in protocol v4, or a pong in v3.
var errHeartbeat = errors.New("invalid heartbeat direction")

// Code says why a request was refused. Clients receive it in the response.
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

// String returns the message that accompanies the code in a response.
func (c Code) String() string { return codeTexts[c] }

// ConnectionError describes a request that was refused.
type ConnectionError struct {
	Request *http.Request // valid until Options.OnConnectionError returns
	Code    Code
	Message string // the text of Code
	// Context has the same keys as in the reference, where they apply: "name", "transport", "previousTransport",
	// "protocol", "previousProtocol", "sid", "method", "origin", "message", "error".
	Context map[string]any
	// Err is the error returned by a function of the application, if it caused the refusal.
	Err error

	answer string // message for the client, if not Message
}

// Error implements error.
func (e *ConnectionError) Error() string { return "engineio: " + e.Message }

// Unwrap returns Err.
func (e *ConnectionError) Unwrap() error { return e.Err }

func refusal(r *http.Request, code Code, context map[string]any) *ConnectionError {
	return &ConnectionError{Request: r, Code: code, Message: code.String(), Context: context}
}
