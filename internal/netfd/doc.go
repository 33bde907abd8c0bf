// Package netfd makes system calls on socket descriptors, without the poller of the Go runtime.
//
// None of the calls waits, so the scheduler is not notified. With a [Poller] one goroutine waits for many
// descriptors. The package supports Linux only; on other systems it is empty.
//
// It imports no other package of the project. Package epoll, which serves WebSocket connections, and package
// httpserver, which accepts connections and reads their requests, import it.
package netfd
