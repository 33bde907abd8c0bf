// Package namespace holds what applications work with: namespaces, their sockets, events,
// acknowledgements and broadcasts. Package socketio re-exports what handlers need.
//
// A [Namespace] has middleware, handlers and rooms of its own. A [Socket] is one client in one namespace.
// What concerns a client's sockets runs on the client's [Queue]: connecting, events and disconnecting reach
// handlers in the order in which the client sent them, one at a time, and different clients run in
// parallel. A handler may block; packets that arrive meanwhile wait, acknowledgements do not.
//
// The package knows a client only as the [Client] interface, and nothing of sessions and transports.
//
// # Locks
//
// Handlers, middleware and adapters are called without any lock held. The locks of a Queue, of a Socket
// and of a handler table are leaves: no other lock is taken while one of them is held.
package namespace
