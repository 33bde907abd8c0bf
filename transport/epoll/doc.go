// Package epoll carries WebSocket connections of a server: it implements [transport.Conn].
//
// A [Server] takes upgrade requests from any [net/http] handler. [Server.Upgrade] checks the
// handshake and takes the connection over, [Conn.Start] begins reading:
//
//	conn, err := server.Upgrade(w, r, nil, transport.FormatV4)
//	if err != nil {
//		return // the client has been answered
//	}
//	conn.SendText(open) // leaves in one segment with the answer to the handshake
//	conn.Start(handler)
//
// Connections come in two kinds that behave alike and share all protocol code.
//
// On Linux, plain TCP and Unix connections give their descriptor to an event loop. An idle
// connection then costs its Conn and the kernel's socket: no goroutine, timer or buffer. Each loop
// has its own epoll descriptor and one read buffer; frames are parsed where they were read.
//
// TLS connections, other systems, and everything if Options.DisableEpoll is set, use one reading
// goroutine per connection and a writing one while there is something to write.
//
// A program that reads HTTP requests itself can hand descriptors over; see [Detacher].
//
// # Concurrency
//
// The methods of a [transport.Handler] that may not block are called on the loop, one at a time for
// each connection. Run is called there as well, but guarded: if it has not returned after one to two
// milliseconds, another goroutine takes the loop over, and for a while the loop starts a goroutine for
// each Run. While no Run has blocked for seconds on end, the guard looks less often, and the first that
// does may hold up the connections of its loop for up to sixteen milliseconds.
//
// A loop serves its connections in turns. In a turn it reads up to 4 KiB from a connection, more only to
// complete a frame, and at most 128 KiB; it handles the messages in these bytes and calls Run. So a flood
// of events, pings or empty frames costs its sender and delays the neighbours by one turn.
//
// During a turn the first message to the connection is written immediately. Later ones are buffered, up
// to 16 KiB, and written when Run returns or another goroutine takes the loop over. Since Send
// and the other methods of a Conn never call a Handler, they may be used with any lock held that a Handler
// takes.
//
// A descriptor is closed by its loop alone, and never during a write: both hold the same lock. An
// event is matched with its connection by a generation and not by the number of the descriptor. So
// no connection receives the bytes or events of another whose number the kernel has given out again.
//
// Lock order: Conn.mu, then loop.mu or Server.mu. No lock of this package is held while a Handler
// runs, apart from the one that keeps the calls of a goroutine connection apart.
package epoll
