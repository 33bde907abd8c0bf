// Package httpserver accepts connections and reads HTTP/1.1 requests for a handler whose requests mostly wait or
// become WebSocket connections.
//
// [Server] behaves like [http.Server]. On Linux it accepts TCP and Unix connections without the poller of the Go
// runtime, and serves the plain requests of its handler itself:
//
//   - A WebSocket handshake that no function of the application sees is answered on the goroutine that accepts.
//     Whoever hijacks the connection can take its descriptor; see [epoll.Detacher].
//   - A request that waits for its answer is parked by [polling.Parker]. Neither it nor an idle connection has a
//     goroutine or a buffer: one goroutine waits for all of them.
//   - A POST behind a parked GET on the same connection is served while the GET waits. Answers leave in the order
//     of the requests.
//
// A request that is not plain, which includes whatever ordinary clients of the handler do not send, goes to net/http
// together with its connection and what has been read of it. So do connections by TLS, those of other listeners, and all
// connections on other systems. What a client gets must not depend on who serves it.
//
// # Limits
//
// A request head may take [Config.HeadTimeout] to arrive and 16 KiB in all. A connection that waits for a request
// ends after [Config.IdleTimeout]. A client must take some of its answer every 30 seconds. TCP keep-alive ends
// connections whose peer has vanished.
//
// # Concurrency
//
// A connection has one lock, which is held for system calls that do not wait. No function of another package that takes part in
// serving a request is called with it held. Who holds it may not take the lock of a session or a transport.
//
// Package socketio imports httpserver. It imports net/http, the packages transport/epoll and transport/polling for the
// interfaces that it implements, and internal packages without rules of a protocol.
package httpserver
