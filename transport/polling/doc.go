// Package polling carries an Engine.IO session over HTTP long-polling: packets to the client as the
// answers of GET requests, which wait until there is something to say, packets from the client as the
// bodies of POST requests.
//
// A [Conn] is the state of one session. It is handed the requests of the session by [Conn.Serve] and
// keeps, bounded by [Config.MaxQueuedBytes], what has to wait for the next GET. It costs no goroutine
// of its own; a waiting request occupies the one that net/http runs it on, or none if its
// ResponseWriter is a [Parker]. Requests may have passed
// through any middleware; where a ResponseWriter is wrapped, its Unwrap method lets the package cut
// a POST off and answer one that is too large without reading it to its end.
//
// Conn calls its [Handler] without holding a lock. Packets of one session are handed over one at a
// time, in the order of the POST requests.
//
// Engine.IO protocol v4 and v3, "HTTP long-polling".
package polling
