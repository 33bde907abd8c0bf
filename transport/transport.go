package transport

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrClosed is returned for what is sent after the connection has closed.
	ErrClosed = errors.New("transport: connection closed")
	// ErrSlowPeer ends a connection whose peer reads so slowly that more bytes than allowed would be queued.
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

// ProtocolError says how a peer broke the WebSocket protocol or exceeded a limit. The peer was sent
// a close frame with Code.
type ProtocolError struct {
	Code   int    // RFC 6455 section 7.4.1
	Reason string // for logs
}

// Error implements error.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("transport: %s (close code %d)", e.Reason, e.Code)
}

// Conn is one WebSocket connection. All methods are safe for concurrent use and none waits for the peer.
type Conn interface {
	// Send writes the frames of m, all of them or, with an error, none. Frames of different calls
	// are never interleaved and arrive in the order of the calls. What the kernel does not take at
	// once is queued: of a shared message by reference, of another as a copy, so that the caller may
	// release it. It returns ErrClosed after the connection has closed and ErrSlowPeer, closing it,
	// when more bytes than allowed would be queued.
	Send(m *Message) error

	// SendText writes one text frame with exactly this payload: an Engine.IO packet that is not a
	// message. Otherwise it is like Send.
	SendText(payload string) error

	// Writable reports whether a message could be sent without having to wait: the kernel has taken all that was sent
	// before, or may be about to where a goroutine writes.
	Writable() bool

	// Queued returns how many bytes have been sent but not been taken by the kernel.
	Queued() int

	// Cork holds what is sent back until Uncork or Close, so that it leaves in one piece. Calls do not nest.
	// The first message that waits makes the connection unwritable.
	Cork()
	Uncork()

	// Pause stops reading from the peer after the messages that have already been read, until
	// Resume. Calls do not nest. When the peer ends the stream, or cannot be written to, the pause
	// ends: the Handler receives what the peer has sent before, and then HandleClose.
	Pause()
	Resume()

	// Alive reports whether the host of the peer has been heard of within the given time. Silence
	// counts only if something was sent meanwhile, such as a ping. With TCP on Linux the kernel
	// of the peer answers for a program that does not read, and nothing answers for a host or
	// network that is gone. With other sockets, and on other systems, it is true until the
	// connection has failed. It is false as soon as the stream has ended.
	Alive(within time.Duration) bool

	// Close sends what is queued and a close frame, with an empty payload for CloseNone, and closes
	// the connection when the peer has answered, or after a time-out. Nothing that the peer sends
	// from now on reaches the Handler, apart from HandleClose.
	Close(code int)

	// Abort closes the connection at once; what is queued is lost.
	Abort()
}

// Handler is what the owner of a Conn offers to it. The methods are called one at a time, and HandleClose
// last, except that each of them, Run itself included, may be called while an earlier Run has not yet returned.
type Handler interface {
	// HandleMessage takes one complete message. data is valid until it returns. It must not block.
	// If it returns true, Run is called once after the messages that have already been read.
	HandleMessage(c Conn, data []byte, binary bool) (run bool)

	// Run does the work that messages have given rise to. It may block for as long as it wants
	// without holding up any other connection, or the reading of this one.
	Run(c Conn)

	// HandleDrain is called when a queue that had formed has been written. It must not block.
	HandleDrain(c Conn)

	// HandleClose is called exactly once, when nothing more can be received. err is nil if the peer
	// closed, by a close frame or by ending the TCP connection, or if Close or Abort was called here; a
	// *ProtocolError; ErrSlowPeer; or another error of the network. It must not block.
	HandleClose(c Conn, err error)
}
