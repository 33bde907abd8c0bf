// Package socketio is a Socket.IO server that existing clients cannot tell from the one for Node.js.
//
//	server := socketio.NewServer(nil)
//	socketio.On(server, "message", func(s *socketio.Socket, text string) {
//		s.Broadcast().Emit("message", text)
//	})
//	http.Handle("/socket.io/", server)
//	http.ListenAndServe(":3000", nil)
//
// A [Server] is an [http.Handler] that can be mounted in any router, behind any middleware; or it
// listens itself, with [Server.ListenAndServe]. It speaks Engine.IO protocol v4 over long-polling and
// WebSocket and Socket.IO protocol v5 on top.
//
// # Namespaces, sockets, handlers
//
// The Server is also the namespace "/": everything that can be done with a [Namespace] can be done with it.
// [Server.Of] gives the others. Handlers are registered on the server, on a namespace, or on one socket:
// typed ones with [On] and [OnAck], others with the method On, whose [Event] has any number of arguments.
//
// # Concurrency
//
// Everything is safe for concurrent use. Handlers of one client run one at a time, in the order in which
// the client sent its packets; handlers of different clients run in parallel. A handler may block, also to wait
// for an acknowledgement of its own client: only that client's later events wait. A handler that panics ends its
// client, not the server.
//
// Emitting never waits for a client. What a client does not read is queued, up to
// [Options.MaxQueuedBytes]; more closes its connection. [Options.MaxQueuedBytesTotal] limits the
// queues of all clients.
//
// # Bytes
//
// A []byte is binary, in arguments of Emit and in what handlers receive, at any depth. Arguments are encoded
// before Emit returns and not kept; what a handler receives is its own.
//
// # Inside
//
// An [engineio.Session] hands messages to its client (client.go), which decodes packets and keeps one [Socket] for each
// namespace that it has joined. What concerns a client's sockets runs on the client's queue (queue.go); where the order of
// what it is sent matters, that is the order of its line (line.go). Package
// namespace knows which namespaces exist, and package adapter which sockets are in which room.
//
// No lock is held while a function of the application or an adapter is called. A client's lock may be held while its
// session is paused or resumed, and while something is pushed on its queue; those of a queue, of a line, of a
// socket and of a table of handlers are leaves.
package socketio
