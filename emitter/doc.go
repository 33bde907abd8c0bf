// Package emitter emits to the clients of a cluster from processes that hold no connections themselves: jobs, other
// services, command-line tools.
//
// The package of each adapter opens emitters for its clusters; they reach Go nodes and those of Node.js:
//
//	redis.NewEmitter(client, nil)         // adapter/redis, and servers that use @socket.io/redis-adapter
//	redis.NewShardedEmitter(client, nil)  // the same with the sharded adapter
//	redisstreams.NewEmitter(client, nil)  // adapter/redisstreams, and @socket.io/redis-streams-adapter
//	postgres.NewEmitter(pool, nil)        // adapter/postgres, and @socket.io/postgres-adapter
//	nats.NewEmitter(conn, nil)            // adapter/nats; Go nodes only
//
// The options are those of the adapter, and have to agree with those of the nodes.
//
// From then on it is as with a namespace of a server:
//
//	e := redis.NewEmitter(client, nil)
//	err := e.Emit("news", item)                                      // everyone
//	err = e.To("lobby", "staff").Except("muted").Emit("news", item)  // rooms
//	err = e.Of("/admin").Volatile().Emit("load", 0.7)                // a namespace; who cannot take it at once misses it
//	err = e.In("user:42").SocketsJoin("lobby")                       // SocketsLeave, DisconnectSockets
//	err = e.ServerSideEmit("reload")                                 // the servers themselves
//
// There are no acknowledgements, and what sockets there are cannot be found out: that takes a node.
//
// # What is guaranteed
//
// An operation returns nil when the backend has taken the message. Each node gets it at most once, in the order in which
// one goroutine emits; what nodes can lose is said by the package of their adapter. With an error the message may have been
// sent nevertheless. Nothing is tried again.
//
// # Coming from Node.js
//
// Emitters of @socket.io/redis-emitter, @socket.io/redis-streams-emitter and @socket.io/postgres-emitter reach Go nodes, so
// that processes can be moved one at a time. There is one difference in favour of these here: servers that use
// @socket.io/postgres-adapter 0.4 and later ignore what @socket.io/postgres-emitter 0.1 sends, which lacks the name of the
// namespace.
package emitter
