// Package gen is the client side of the benchmarks: thousands of Socket.IO clients on one epoll loop, with raw frames,
// so that the generator costs less than what it measures.
//
// A Loop belongs to one goroutine, which calls everything in this package. What the loop receives it checks as far as the
// protocols go; what it cannot make sense of ends the run with an error, as does every connection that closes
// unasked.
package gen
