// Package gen is the client side of the benchmarks. It runs thousands of Socket.IO clients on one epoll loop, with raw
// frames, so that the generator costs less than the server.
//
// A Loop belongs to one goroutine, which calls everything in this package. The loop checks that everything it receives
// follows the protocols. A violation ends the run with an error, and so does a connection that closes
// unexpectedly.
package gen
