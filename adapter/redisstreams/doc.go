// Package redisstreams connects the nodes of a cluster through Redis streams.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // github.com/redis/go-redis/v9
//	server := socketio.NewServer(&socketio.Options{
//		Adapter:  redisstreams.New(client, nil),
//		Recovery: new(socketio.Recovery), // clients resume their session on any node
//	})
//
// It is compatible with Node.js servers that use @socket.io/redis-streams-adapter 0.3 and with its emitter. With versions
// 0.1 and 0.2, broadcasts, joins, leaves and disconnections work in both directions; requests and acknowledgements do not.
// Clients of go-redis for a single server, Sentinel and Redis Cluster work, with Redis 5 or later. The application keeps the
// client and closes it after the server.
//
// Messages that change the state of clients are entries of a stream, which every node reads from its current end on.
// Requests and their answers are published on channels.
//
// # Guarantees
//
// A broadcast that Redis has accepted reaches every node that reads the stream, once and in the same order everywhere, even
// if a node loses its connection for a while, as long as the stream still holds the entry: see Options.MaxLen. Lost entries
// are counted as Lost in the Stats of the [adapter.Cluster] that is the namespace's adapter. If Redis fails while a broadcast
// is being published, it is not published again. Requests and answers are lost while a node has no connection; requests
// then end at their time-out. A node that starts reads from the current end of the stream.
//
// The sockets of this node are always served. A node notices after about ten seconds that a connection has gone silent, and
// reconnects by itself. Nodes are counted by their subscriptions, as Node.js counts them.
//
// A node reads ahead of what it delivers, by MaxPendingBytes at most. When a namespace does not keep up, the node stops
// reading the stream until there is room again: nothing is dropped, but the other namespaces of the stream wait, too.
// Requests and answers that find no room are dropped after a second.
//
// # Recovery
//
// With recovery, an event waits until this node reads it back from the stream. It then has an offset, the id of its entry,
// and all nodes deliver all events in the order of their offsets. A client that resumes its session on another Go node gets
// each event exactly once. Emit waits for this: usually for a round trip to Redis, and for
// [adapter.ClusterOptions].OffsetTimeout at most. If Redis fails, the sockets of this node get events without offsets, from
// the second event on without delay, until Redis works again. A client that resumes its session later may get some of these
// events twice. A handler of OnRoomEvent should emit on another goroutine: it may run on the one that delivers what the
// stream holds, so that its Emit waits until OffsetTimeout.
//
// Sessions are kept in Redis for RecoveryOptions.MaxDisconnection; MaxBytes and MaxSessions have no effect. A session can be
// resumed once. A socket's data is kept as JSON. Volatile events are not sent again.
//
// A Node.js server delivers its own events before older ones of other servers. While there is traffic, a client that moves
// from or to such a server may miss an event, or get one twice.
package redisstreams
