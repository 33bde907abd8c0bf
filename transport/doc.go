// Package transport is the contract between an Engine.IO session and its connections.
//
// It does no I/O. A [Message] is an application message, encoded once and written to any number of peers. A [Conn]
// is a WebSocket connection as seen by a session. A [Handler] is a session as seen by its connection.
//
// Package epoll implements Conn; package polling carries the same messages over HTTP. The package imports
// engineio/packet only.
package transport
