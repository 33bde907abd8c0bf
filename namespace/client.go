package namespace

import (
	"net/http"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

// Client is one Engine.IO session as its sockets see it. All methods are safe for concurrent use, and none
// blocks.
type Client interface {
	// Send writes m, which is not kept unless it is shared.
	Send(m *transport.Message) error
	// ClaimVolatile reports whether a volatile message may be sent now. If so, one is expected to be.
	ClaimVolatile() bool

	// Cork has what is sent wait until Uncork, but not for long, so that it reaches the client in one piece.
	// Calls do not nest.
	Cork()
	Uncork()

	// Queue is where everything that concerns the client's sockets runs.
	Queue() *Queue
	// Schedule has the queue run soon, outside the calling goroutine.
	Schedule()

	// Joined is told that s is connected, Left that it is not, or no longer.
	Joined(s *Socket)
	Left(s *Socket)
	// DisconnectAll disconnects all sockets of the client, then closes its session.
	DisconnectAll()
	// Fail logs a panic of a handler, or runtime.Goexit if panicked is nil, and closes the session.
	Fail(s *Socket, panicked any, stack []byte)

	// SessionID is the Engine.IO session id, Transport the name of what carries it at the moment,
	// Protocol the Engine.IO revision.
	SessionID() string
	Transport() string
	Protocol() int
	// Request is the session's first HTTP request.
	Request() Request
}

// Request is the HTTP request with which a client's session began. Its parts are parsed when they are
// asked for.
type Request interface {
	// Header returns a fresh copy of the header.
	Header() http.Header
	// Host is the Host field of the header, which Header leaves out.
	Host() string
	// URL is the request target as sent.
	URL() string
	// Query returns the parsed query; for a key that is repeated, the last value counts.
	Query() map[string]string
	// RemoteAddr is the peer's address with its port, as in http.Request.
	RemoteAddr() string
	// Secure reports whether the connection is encrypted.
	Secure() bool
	// Issued is when the session began.
	Issued() time.Time
}
