// Package engineio implements a server for Engine.IO, the protocol below Socket.IO. Clients connect by HTTP long-polling
// or WebSocket, switch from one to the other without losing messages, and are monitored by a heartbeat. The package can
// be used without Socket.IO.
//
// A [Server] is an [http.Handler] that opens a [Session] for each client. Options.OnSession returns its [Handler]:
//
//	server, err := engineio.NewServer(&engineio.Options{
//		OnSession: func(s *engineio.Session) engineio.Handler { return &echo{session: s} },
//	})
//	if err != nil {
//		return err
//	}
//	defer server.Close()
//	http.Handle("/engine.io/", server)
//
// # Messages
//
// Handler.HandleMessage receives the messages of a client. It must not keep the data, and must not block, because it runs
// on an event loop that serves many clients. It queues work that takes time for Handler.Run, which may block. A message
// to clients is a [transport.Message], which is encoded once and sent to any number of sessions.
//
// # Concurrency
//
// All methods of Server and Session may be called from any goroutine, including from a Handler. Handler documents which of
// its methods are called concurrently; different sessions run in parallel.
//
// An idle Session has no goroutine, except the one of net/http for a waiting poll.
//
// Lock order: Session.mu, then locks of transports. No lock is held while a Handler, a hook, middleware or a
// function of Options is called.
package engineio
