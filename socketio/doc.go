// Package socketio implements a Socket.IO server that is compatible with the Node.js server: existing clients connect
// unchanged.
//
//	server := socketio.NewServer(nil)
//	socketio.On(server, "message", func(s *socketio.Socket, text string) {
//		s.Broadcast().Emit("message", text)
//	})
//	http.Handle("/socket.io/", server)
//	http.ListenAndServe(":3000", nil)
//
// A [Server] is an [http.Handler] that can be mounted in any router, behind any middleware. Alternatively, it listens
// itself, with [Server.ListenAndServe]. It implements Socket.IO protocol v5 on Engine.IO protocol v4, over long-polling
// and WebSocket.
//
// # Namespaces, sockets, handlers
//
// The Server is also the namespace "/" and has all methods of a [Namespace]. [Server.Of] returns other namespaces.
// Handlers are registered on the server, on a namespace, or on one socket: typed handlers with [On] and [OnAck], others
// with the method On, whose [Event] has any number of arguments.
//
// # Concurrency
//
// Everything is safe for concurrent use. The handlers of one client run one at a time, in the order in which the client
// sent its packets. The handlers of different clients run in parallel. A handler may block, for example to wait for an
// acknowledgement of its own client; only later events of that client wait. If a handler panics, the panic is logged and
// its client is disconnected.
//
// Emitting never waits for a client. Messages for a client that does not read are queued, up to
// [Options.MaxQueuedBytes]; exceeding it closes the connection. [Options.MaxQueuedBytesTotal] limits the queues of all
// clients.
//
// # Bytes
//
// A []byte is binary, at any depth of the arguments of Emit and of handlers. Arguments are encoded before Emit returns,
// and not kept. Handlers own the bytes that they receive.
//
// # Implementation
//
// An [engineio.Session] passes messages to its client (client.go), which decodes packets and has one Socket for each
// namespace that it has joined. Handlers of a client's sockets run on the client's queue (queue.go). Where the order of
// outgoing packets matters, the client's line preserves it (line.go). Package namespace keeps the namespaces, and package
// adapter the sockets and their rooms.
//
// No lock is held while a function of the application or an adapter is called. A client's lock may be held while its
// session is paused or resumed, and while its queue is pushed to. The locks of queues, lines, sockets and handler tables
// are leaves.
package socketio
