// Package epoll implements [transport.Conn]: it serves WebSocket connections.
//
// A [Server] accepts upgrade requests from any [net/http] handler. [Server.Upgrade] checks the handshake and takes
// over the connection. [Conn.Start] begins reading:
//
//	conn, err := server.Upgrade(w, r, nil, transport.FormatV4)
//	if err != nil {
//		return // the client has been answered
//	}
//	conn.SendText(open) // leaves in one segment with the answer to the handshake
//	conn.Start(handler)
//
// There are two kinds of connections. They behave alike and share all protocol code.
//
// On Linux, plain TCP and Unix connections hand their descriptor to an event loop. An idle connection costs only
// its Conn and the kernel's socket: no goroutine, timer or buffer. Each loop has its own epoll descriptor and one
// read buffer; frames are parsed in that buffer.
//
// TLS connections, connections on other systems, and all connections if Options.DisableEpoll is set use one reading
// goroutine each, and a writing one while there is something to write.
//
// A program that reads HTTP requests itself can hand over descriptors; see [Detacher].
//
// # Concurrency
//
// The methods of a [transport.Handler] that must not block are called on the loop, one at a time for each
// connection. Run is also called on the loop, but guarded: if it has not returned after one to two milliseconds,
// another goroutine takes over the loop, and for a while the loop starts a goroutine for each Run. While no Run
// blocks for some seconds, the guard checks less often, and the next Run that blocks may delay the connections of
// its loop by up to sixteen milliseconds.
//
// A loop serves its connections in turns. In a turn it reads up to 4 KiB from a connection, more only to complete a
// frame, and at most 128 KiB. It handles the messages in these bytes and calls Run. A flood of events, pings or
// empty frames therefore delays other connections by one turn at most.
//
// During a turn the first message to the connection is written immediately. Later ones are buffered, up to 16 KiB,
// and written when Run returns or another goroutine takes over the loop. Send and the other methods of a Conn never
// call a Handler, so they may be called with any lock held that a Handler acquires.
//
// Only its loop closes a descriptor, and never during a write: both hold the same lock. Events are matched to
// connections by a generation, not by the descriptor number. A connection therefore never receives the bytes or
// events of another one whose descriptor number has been reused.
//
// Lock order: Conn.mu, then loop.mu or Server.mu. No lock of this package is held while a Handler runs, except the
// lock that serializes the calls of a goroutine connection.
package epoll
