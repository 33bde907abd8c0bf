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
// a [Backend], which is thin: it carries bytes. A [Message] is what nodes tell each other. The arguments of events are
// not decoded on the way: what is JSON inside a server becomes JSON between nodes or, if there are attachments,
// MessagePack, and back.
//
// What is done to the sockets of this node is done at once. What concerns other nodes waits in a queue of bounded
// size and reaches each of them at most once; messages of one node arrive in the order in which they were sent, as far as the backend
// keeps it. Requests that wait for other nodes end with what has come when their time is over. [Cluster.Stats] tells what
// was lost, and the log does so at a bounded rate. What other nodes send is taken for hostile input.
//
// # Locks
//
// Memory takes, in this order: the lock of a Member, then that of one shard of rooms or of
// one shard of sockets. None is held while a packet is written or a hook is called. The locks of Cluster are
// leaves: its queue's, that of its requests, of its nodes, and of events of other nodes; no other is taken under them.
package adapter
