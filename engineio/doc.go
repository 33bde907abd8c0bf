// Package engineio serves Engine.IO, the protocol that carries Socket.IO: connections of browsers and
// other clients that begin with HTTP long-polling or WebSocket, switch from one to the other without
// losing a message, and are known to be alive by a heartbeat. It can be used on its own.
//
// A [Server] is an [http.Handler] that opens a [Session] for each client and asks Options.OnSession
// for its [Handler]:
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
// What a client sends is handed to Handler.HandleMessage, which borrows it and must not block:
// it runs on the event loop that serves many other clients. Work that takes time is queued there, and
// done by Handler.Run, which may block. What goes to a client is a [transport.Message], which is
// encoded once and sent to any number of sessions.
//
// # Concurrency
//
// All methods of Server and Session may be called from any goroutine, also from a Handler. The calls
// to one Handler are kept apart as its documentation says; different sessions run in parallel.
//
// A Session costs no goroutine while it is idle, apart from the one that net/http needs for a
// polling client's request, and no timer of its own.
//
// Lock order: Session.mu, then locks of transports. No lock is held while a Handler, a hook, middleware or a
// function of Options is called.
package engineio
