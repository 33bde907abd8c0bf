// Package transport is the contract between an Engine.IO session and its connections.
//
// It does no I/O. [Message] is an application message, which all layers above pass down: it is encoded once and can be
// written to any number of peers. [Conn] is a WebSocket connection as a session sees it, and [Handler] is what a session
// offers to the connection in return.
//
// Package epoll implements Conn; package polling carries the same messages over HTTP. The package imports
// engineio/packet only.
package transport
