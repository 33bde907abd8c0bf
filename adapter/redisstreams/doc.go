// Package redisstreams connects the nodes of a cluster through Redis streams.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // github.com/redis/go-redis/v9
//	server := socketio.NewServer(&socketio.Options{
//		Adapter:  redisstreams.New(client, nil),
//		Recovery: new(socketio.Recovery), // clients resume their session on any node
//	})
//
// It is compatible with @socket.io/redis-streams-adapter 0.3 and its emitter. With versions 0.1 and 0.2, broadcasts, joins,
// leaves and disconnections work in both directions; requests and acknowledgements do not. Any go-redis client works: for a
// single server, Sentinel or Redis Cluster. It requires Redis 5 or later. The application owns the client and closes it
// after the server.
//
// Messages that change the state of clients are entries of a stream. Every node reads the stream from its current end.
// Requests and their answers are published on channels.
//
// # Guarantees
//
// A broadcast accepted by Redis reaches every node that reads the stream, exactly once and in the same order on all nodes.
// This holds even if a node loses its connection, as long as the stream still contains the entry: see Options.MaxLen. Lost
// entries are counted as Lost in the Stats of the namespace's [adapter.Cluster]. A failed publish is never retried. Requests
// and answers are lost while a node has no connection; requests then run into their time-out. A starting node reads from the
// current end of the stream.
//
// Local sockets are always served. A node detects a silent connection after about ten seconds and reconnects. Nodes are
// counted by their subscriptions, as in Node.js.
//
// A node reads ahead of delivery by at most MaxPendingBytes. When a namespace falls behind, the node stops reading the
// stream until there is room again: no entry is dropped, but the other namespaces of the stream wait, too. Requests and
// answers that exceed the bound are dropped after a second.
//
// # Recovery
//
// With recovery, an event is delivered after this node has read it back from the stream. The id of its entry is its offset,
// and all nodes deliver events in the order of their offsets. A client that resumes its session on another Go node receives
// each event exactly once. Emit waits for the offset: usually one round trip to Redis, and at most
// [adapter.ClusterOptions].OffsetTimeout. If Redis fails, local sockets receive events without offsets until Redis works
// again; only the first of these events is delayed. A client that resumes its session later may receive some of these
// events twice. An OnRoomEvent handler should emit on another goroutine: the handler may run on the goroutine that delivers
// entries, and its Emit would then wait until OffsetTimeout.
//
// Sessions are kept in Redis for RecoveryOptions.MaxDisconnection; MaxBytes and MaxSessions have no effect. A session can be
// resumed once. A socket's data is kept as JSON. Volatile events are not sent again.
//
// A Node.js server delivers its own events before older events of other servers. Under traffic, a client that moves from or
// to such a server may miss an event or receive one twice.
package redisstreams
