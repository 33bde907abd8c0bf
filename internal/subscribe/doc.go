// Package subscribe maintains a node's subscriptions with any broker: channels of Redis and PostgreSQL, subjects of
// NATS, streams.
//
// It imports only the standard library. The cluster adapters import it, each with its own [Driver].
//
// A [Receiver] records the wanted names and their members. While any name is wanted, one goroutine updates the
// connections: it subscribes and unsubscribes, drops silent connections, and retries after an increasing delay.
// Each connection, a [Feed], has a receiving goroutine. A Receiver without subscriptions holds no resources.
//
// A [Member] is one namespace of a node. Its messages wait in its own queue, and a goroutine that exists only while
// the queue is not empty delivers them. The messages of a namespace are thus handled in order of arrival, whatever
// their names; namespaces do not wait for each other; and connections are read while messages are handled.
//
// # Bounds
//
// Options.MaxPendingBytes bounds the bytes in all queues of a Receiver. It also bounds the number of messages,
// because each has a fixed cost in addition to its bytes. A queue may grow to the size of the remaining space: one
// slow member gets half, two get a third each, and space remains for the others.
//
// While a queue is full, the connection waits for space for up to Options.Patience, and so does the broker. After
// that, messages that do not fit are dropped at once and reported to Owner.Dropped, until half of the member's
// space is free again.
//
// # Locks
//
// Owners, handlers and drivers are called with no lock held. The locks of a Receiver and of its queues are leaves.
package subscribe
