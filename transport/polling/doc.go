// Package polling carries an Engine.IO session over HTTP long-polling. Packets travel to the client in the
// responses to GET requests, which wait until there is something to send, and from the client in the bodies of POST
// requests.
//
// A [Conn] is the state of one session. [Conn.Serve] handles the requests of the session. Packets wait for the next
// GET in a queue bounded by [Config.MaxQueuedBytes]. A Conn has no goroutine of its own. A waiting request occupies
// its net/http goroutine, or none if its ResponseWriter is a [Parker].
//
// Requests may have passed through any middleware. If a ResponseWriter is wrapped, its Unwrap method lets the package
// interrupt a POST, limit the time for a body, and remove the deadlines of an [http.Server] from a request that waits.
//
// Conn calls its [Handler] and [Config.Header] without holding a lock. Packets of one session are delivered one at a
// time, in the order of the POST requests.
//
// Engine.IO protocol v4 and v3, "HTTP long-polling".
//
// The package imports engineio/packet, transport and internal packages. Packages engineio and internal/httpserver import
// it.
package polling
