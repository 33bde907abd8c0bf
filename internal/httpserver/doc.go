// Package httpserver accepts connections and reads HTTP/1.1 requests. It is made for a handler whose requests
// mostly wait or become WebSocket connections.
//
// [Server] behaves like [http.Server]. On Linux it accepts TCP and Unix connections without the poller of the Go
// runtime, and serves plain requests itself:
//
//   - A WebSocket handshake that no function of the application sees is answered on the goroutine that accepts.
//     A handler that hijacks the connection can take its descriptor; see [epoll.Detacher].
//   - A request that waits for its answer is parked by [polling.Parker]. Neither it nor an idle connection has a
//     goroutine or a buffer: one goroutine waits for all of them.
//   - A POST behind a parked GET on the same connection is served while the GET waits. Responses are sent in the
//     order of the requests.
//
// Other requests go to net/http, together with their connection and the bytes already read from it; these include
// all requests that ordinary clients of the handler do not send. So do TLS connections, connections of other
// listeners, and all connections on other systems. Responses must not depend on which server handles a request.
//
// # Limits
//
// A request head may take [Config.HeadTimeout] to arrive and 16 KiB in total. A connection that waits for a request
// closes after [Config.IdleTimeout]. A client must accept some of its response every 30 seconds. TCP keep-alive
// closes connections to vanished peers.
//
// # Concurrency
//
// A connection has one lock, which is held during non-blocking system calls. No function of another package that
// takes part in serving a request is called with it held. Code that holds it must not acquire the lock of a session
// or a transport.
//
// Package socketio imports httpserver. httpserver imports net/http, the packages transport/epoll and
// transport/polling for the interfaces that it implements, and protocol-independent internal packages.
package httpserver
