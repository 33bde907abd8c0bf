// Package adapter decides which sockets of a namespace a packet reaches.
//
// An [Adapter] keeps the rooms of one namespace and performs the operations on all of its sockets, on this node and on
// other nodes: broadcasts, joins, disconnections, requests between nodes. [Memory] is the adapter of a single server and the
// local half of every cluster adapter.
//
// An adapter accesses sockets through [Socket] and its namespace through [Namespace]. It deals with ids, rooms and packets,
// but not with events, handlers or transports.
//
// # Clusters
//
// [Cluster] is the adapter of a node in a cluster. It implements the protocol of the reference's ClusterAdapter over a
// [Backend], which carries bytes and passes received messages to a [Node]. Nodes exchange values of type [Message]. The
// arguments of events are not decoded on the way: JSON inside a server becomes JSON between nodes or, with attachments,
// MessagePack, and back.
//
// Operations on local sockets take effect at once. Messages to other nodes wait in a bounded queue and reach each node at
// most once. Messages of one node arrive in order if the backend preserves it. When their time is over, requests to other
// nodes return the answers received so far. [Cluster.Stats] counts losses, and the log reports them at a bounded rate.
// Messages of other nodes are treated as hostile input.
//
// # Locks
//
// Memory acquires locks in this order: the lock for the order of packets with offsets, the lock of a Member, then the lock
// of a shard of rooms, of a shard of sockets, or of the recovery store. [Socket.Enqueue] and [Namespace.Encode] are called
// with the first one held. No lock is held while a packet is sent or a function of the application is called. The locks of
// Cluster are leaves, except that it looks up rooms with the lock of their channels held.
package adapter
