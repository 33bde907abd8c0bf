// Package adapter decides which sockets of a namespace a packet reaches.
//
// An [Adapter] keeps the rooms of one namespace and carries what concerns all of its sockets, on
// this node and on others: broadcasts, joins, disconnections, requests between nodes. [Memory] is
// the adapter of a server that stands alone, and the local half of every adapter for a cluster.
//
// The adapter sees sockets through [Socket] and its namespace through [Namespace]; it knows ids, rooms
// and packets, and nothing of events, handlers or transports.
//
// # Clusters
//
// [Cluster] is the adapter of a node among others. It speaks the protocol of the reference's ClusterAdapter over
// a [Backend], which carries bytes and hands what it receives to a [Node]. A [Message] is what nodes send each other. The
// arguments of events are not decoded on the way: JSON inside a server becomes JSON between nodes or, if there are
// attachments, MessagePack, and back.
//
// Operations on the sockets of this node are done at once. Messages to other nodes wait in a queue of bounded size and
// reach each node at most once; those of one node arrive in the order in which they were sent, as far as the backend
// keeps it. Requests to other nodes return the answers that came when their time is over. [Cluster.Stats] counts what was
// lost, and the log reports it at a bounded rate. Messages of other nodes are treated as hostile input.
//
// # Locks
//
// Memory takes, in this order: the lock for the order of packets with offsets, that of a Member, then that of one shard of
// rooms or of one shard of sockets, or that of what is kept for recovery. Under the first, [Socket.Enqueue] and
// [Namespace.Encode] are called; no lock is held while a packet is sent or a function of the application is called. The
// locks of Cluster are leaves, but that it looks at its rooms under the lock of their channels.
package adapter
