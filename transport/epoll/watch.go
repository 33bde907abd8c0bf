package epoll

// Events is what a Watcher says of a connection.
type Events uint8

const (
	Readable Events = 1 << iota // there is something to read, or the end
	Writable                    // there is room for something to write
	Gone                        // the peer sends no more, or the connection has failed
	Failed                      // the connection has failed
)

// Watched is the owner of a connection that a Watcher watches.
type Watched interface {
	// HandleEvents is called on the goroutine of the Watcher when something has changed: what has been said before is
	// not repeated, so the owner has to read, or write, until that would block. It must not block. A last call
	// may come while the connection is being closed or after Unwatch.
	HandleEvents(e Events)
}
