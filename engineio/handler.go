package engineio

// Handler is what the layer above offers to a session.
//
// HandleMessage and HandleClose are called one at a time, and HandleClose last: what the client sent before it left has
// been handled by then. Run and HandleDrain may be called at any time, also at the same time as the others and as
// themselves, and a Run that has been asked for may come after HandleClose. No lock is held during a call.
//
// A message does not come with the request or the frame that carried it. What a later request of a polling client
// says about it can be seen by middleware, which knows the session by the parameter sid; see Server.Use.
type Handler interface {
	// HandleMessage takes one message. data is valid until it returns; it is nil for a text message
	// without any data, and never nil for a binary message. It must not block. If it returns true,
	// Run is called after the messages that have already been received.
	HandleMessage(data []byte, binary bool) (run bool)

	// Run does the work that messages have given rise to. It may block for as long as it wants.
	Run()

	// HandleDrain is called when messages that had to wait have been handed to the client or, on a
	// WebSocket, to the kernel. It must not block.
	HandleDrain()

	// HandleClose is called exactly once. err has details of TransportError and ParseError. It must
	// not block.
	HandleClose(reason CloseReason, err error)
}
