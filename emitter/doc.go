// Package emitter emits to the clients of a cluster from processes without client connections: jobs, other services,
// command-line tools.
//
// Each adapter package creates emitters for its clusters. They reach Go nodes and Node.js servers:
//
//	redis.NewEmitter(client, nil)         // adapter/redis, and servers that use @socket.io/redis-adapter
//	redis.NewShardedEmitter(client, nil)  // the same with the sharded adapter
//	redisstreams.NewEmitter(client, nil)  // adapter/redisstreams, and @socket.io/redis-streams-adapter
//	postgres.NewEmitter(pool, nil)        // adapter/postgres, and @socket.io/postgres-adapter
//	nats.NewEmitter(conn, nil)            // adapter/nats; Go nodes only
//
// An emitter takes the options of its adapter, which must match the options of the nodes.
//
// An emitter is used like a namespace of a server:
//
//	e := redis.NewEmitter(client, nil)
//	err := e.Emit("news", item)                                      // everyone
//	err = e.To("lobby", "staff").Except("muted").Emit("news", item)  // rooms
//	err = e.Of("/admin").Volatile().Emit("load", 0.7)                // a namespace; clients that are not ready miss it
//	err = e.In("user:42").SocketsJoin("lobby")                       // SocketsLeave, DisconnectSockets
//	err = e.ServerSideEmit("reload")                                 // the servers themselves
//
// An emitter cannot wait for acknowledgements or list sockets; only a node can.
//
// # Guarantees
//
// An operation returns nil when the backend has accepted the message. Each node receives it at most once, and messages
// emitted by one goroutine arrive in order. The adapter packages document the messages that a node can lose. If an operation
// returns an error, the message may have been sent nevertheless. Operations are never retried.
//
// # Coming from Node.js
//
// The emitters @socket.io/redis-emitter, @socket.io/redis-streams-emitter and @socket.io/postgres-emitter reach Go nodes, so
// processes can be migrated one at a time. There is one difference: Node.js servers with @socket.io/postgres-adapter 0.4 or
// later ignore messages of @socket.io/postgres-emitter 0.1, which lack the namespace, but accept messages of this package.
package emitter
