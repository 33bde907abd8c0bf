package engineio

// Handler receives the events of a Session.
//
// HandleMessage and HandleClose are called one at a time, HandleClose last: all messages that the client sent before it
// left have been handled by then. Run and HandleDrain may be called at any time, concurrently with all other methods
// and with themselves. A requested Run may be called after HandleClose. No lock is held during a call.
//
// A message is not accompanied by the request or frame that carried it. To inspect later requests of a polling client,
// use middleware, which can identify the session by the parameter sid; see Server.Use.
type Handler interface {
	// HandleMessage handles one message. data is valid until it returns. It is nil for an empty text message, and
	// never nil for a binary message. HandleMessage must not block. If it returns true, Run is called after the
	// messages that have already been received.
	HandleMessage(data []byte, binary bool) (run bool)

	// Run does the work requested by messages. It may block indefinitely.
	Run()

	// HandleDrain is called when queued messages have been sent to the client or, on a WebSocket, accepted by the
	// kernel. It must not block.
	HandleDrain()

	// HandleClose is called exactly once. err has details for TransportError and ParseError. HandleClose must not
	// block.
	HandleClose(reason CloseReason, err error)
}
