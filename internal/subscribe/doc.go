// Package subscribe keeps the subscriptions of a node up, whatever the broker: channels of Redis and PostgreSQL, subjects
// of NATS, streams.
//
// It imports only the standard library. The adapters for clusters import it, and bring a [Driver] each.
//
// A [Receiver] knows which names are wanted, and by whom. While there are any, one goroutine brings the connections in
// line with that: it subscribes and unsubscribes, gives a connection up that falls silent, and tries again after a delay
// that grows. Each connection, a [Feed], has a goroutine that receives. A Receiver whose last subscription is gone holds
// nothing.
//
// A [Member] is one namespace of a node. What it receives waits in a queue of its own, from which a goroutine that exists
// only while something waits hands it over. So the messages of a namespace are handled in the order in which they came,
// whatever their names; namespaces do not wait for each other; and a connection is read while messages are handled.
//
// # Bounds
//
// What waits in all queues of a Receiver is bounded by Options.MaxPendingBytes, which bounds the number of messages as
// well, because each counts some bytes beside its own. A queue may take as much as it leaves free: one member that does
// not keep up gets half, two get a third each, and there is room for the others.
//
// A connection waits for room in a full queue, and the broker with it, for Options.Patience. When there is none by then,
// messages for this member that find no room are dropped at once, and counted by Owner.Dropped, until half of its room is
// free again.
//
// # Locks
//
// An Owner, a handler and a driver are called with no lock held. The lock of a Receiver and that of its queues are leaves.
package subscribe
