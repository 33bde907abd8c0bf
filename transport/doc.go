// Package transport is the contract between an Engine.IO session and what carries it.
//
// It holds no I/O. [Message] is what every layer above hands down: an application message that is
// encoded once and can be written to any number of peers. [Conn] is a WebSocket connection as a
// session sees it, and [Handler] is what a session offers to the connection in return.
//
// Package epoll implements Conn; package polling carries the same messages over HTTP.
package transport
