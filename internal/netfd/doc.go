// Package netfd makes system calls on the descriptors of sockets, without the poller of the Go runtime.
//
// None of the calls waits, so the scheduler is not told of them. A [Poller] is how a goroutine waits for many
// descriptors at once. Everything here is for Linux; on other systems the package is empty.
//
// The package imports nothing of the project. Package epoll, which serves WebSocket connections, and
// package httpserver, which accepts connections and reads their requests, import it.
package netfd
