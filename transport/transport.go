package transport

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrClosed reports an operation on a connection that has closed.
	ErrClosed = errors.New("transport: connection closed")
	// ErrSlowPeer reports that a connection was ended because its peer reads too slowly: the queue would have
	// exceeded its limit.
	ErrSlowPeer = errors.New("transport: peer does not read fast enough")
)

// Close codes, RFC 6455 section 7.4.1. CloseNone stands for a close frame without a code.
const (
	CloseNone          = 0
	CloseNormal        = 1000
	CloseGoingAway     = 1001
	CloseProtocolError = 1002
	CloseInvalidData   = 1007
	ClosePolicy        = 1008
	CloseTooBig        = 1009
)

// ProtocolError describes how a peer violated the WebSocket protocol or exceeded a limit. The peer was sent a close
// frame with Code.
type ProtocolError struct {
	Code   int    // RFC 6455 section 7.4.1
	Reason string // for logs
}

// Error implements error.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("transport: %s (close code %d)", e.Reason, e.Code)
}

// Conn is one WebSocket connection. All methods are safe for concurrent use, and none waits for the peer.
type Conn interface {
	// Send writes all frames of m, or none and returns an error. Frames of different calls are never interleaved
	// and arrive in the order of the calls. Bytes that the kernel does not accept at once are queued: by reference
	// for a shared message, otherwise as a copy, so the caller may release m. Send returns ErrClosed after the
	// connection has closed. If the queue would exceed its limit, it closes the connection and returns ErrSlowPeer.
	Send(m *Message) error

	// SendText writes one text frame with exactly this payload, an Engine.IO packet other than a message. Otherwise
	// it is like Send.
	SendText(payload string) error

	// Writable reports whether a message can be sent without queueing: the kernel has accepted all earlier messages
	// or, if a goroutine does the writing, may be about to.
	Writable() bool

	// Queued returns the number of bytes sent but not yet accepted by the kernel.
	Queued() int

	// Cork holds messages back until Uncork or Close, so that they are written together. Calls do not nest. Once a
	// message is held back, the connection is not writable.
	Cork()
	Uncork()

	// Pause stops reading from the peer, after the messages that have already been read, until Resume. Calls do not
	// nest. If the peer ends the stream or cannot be written to, the pause ends: the Handler receives the remaining
	// messages, and then HandleClose.
	Pause()
	Resume()

	// Alive reports whether the peer's host has been heard from within the given time. Silence counts only if
	// something, such as a ping, was sent meanwhile. With TCP on Linux the peer's kernel answers even for a program
	// that does not read; a host or network that is gone does not answer. For other sockets, and on other systems,
	// Alive returns true until the connection has failed. It returns false once the stream has ended.
	Alive(within time.Duration) bool

	// Close sends the queued bytes and a close frame, with an empty payload for CloseNone, and closes the
	// connection when the peer has answered or a time-out expires. From now on the Handler receives no more
	// messages, only HandleClose.
	Close(code int)

	// Abort closes the connection at once and drops the queued bytes.
	Abort()
}

// Handler receives the events of a Conn. Its methods are called one at a time, HandleClose last. The exception is
// an earlier Run that has not returned: any method, including Run itself, may be called meanwhile.
type Handler interface {
	// HandleMessage handles one complete message. data is valid until it returns. It must not block. If it returns
	// true, Run is called once after the messages that have already been read.
	HandleMessage(c Conn, data []byte, binary bool) (run bool)

	// Run does the work that messages have requested. It may block indefinitely without delaying any other
	// connection or the reading of this one.
	Run(c Conn)

	// HandleDrain is called when a non-empty queue has been written. It must not block.
	HandleDrain(c Conn)

	// HandleClose is called exactly once, when nothing more can be received. err is nil if the peer closed the
	// connection, by a close frame or by ending the TCP connection, or if Close or Abort was called. Otherwise it
	// is a *ProtocolError, ErrSlowPeer or another network error. It must not block.
	HandleClose(c Conn, err error)
}
