// Package redisstreams connects the nodes of a cluster by way of Redis streams.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // github.com/redis/go-redis/v9
//	server := socketio.NewServer(&socketio.Options{
//		Adapter:  redisstreams.New(client, nil),
//		Recovery: new(socketio.Recovery), // clients resume their session on any node
//	})
//
// It speaks with Node.js servers that use @socket.io/redis-streams-adapter 0.3, and with those of its emitter. Of what
// servers with version 0.1 or 0.2 do, broadcasts, joins, leaves and disconnections are understood on both sides;
// requests and acknowledgements are not. Clients of go-redis for a single server, Sentinel and Redis Cluster serve; Redis
// has to be of version 5 or later. The client remains the application's, which closes it after the server.
//
// What changes the state of clients is added to a stream, which all nodes read from its end on. Requests, and the
// answers to them, are published on channels.
//
// # What is guaranteed
//
// A broadcast that Redis has taken reaches every node that reads the stream, once and in the same order everywhere, also if
// a node has lost its connection meanwhile, as long as the stream still holds it: see Options.MaxLen. What has been
// lost is counted as Lost in the Stats of the [adapter.Cluster] that a namespace has as its adapter. A broadcast is not
// sent again if Redis fails while it is sent. Requests and answers are lost while a node has no connection; requests
// end at their time-out then. A node that starts reads from the present end of the stream.
//
// This node's own sockets are served all the time. A node notices a connection that has gone silent after about ten
// seconds and connects anew by itself. Nodes are counted by their subscriptions, as Node.js counts them.
//
// # Recovery
//
// With recovery, an event waits until this node reads it back from the stream, so that it has an offset, the id of its
// entry, and clients of all nodes get all events in the order of their offsets: a client that resumes its session on
// another node of this kind gets each event exactly once. Emit waits for that, for as long as a round trip to
// Redis takes as a rule, and for [adapter.ClusterOptions].OffsetTimeout at most. If Redis fails, the
// sockets of this node are sent events without offset, at once from the second one on, until Redis works again; a
// client that resumes its session later may get some of them twice. A handler of OnRoomEvent must not emit, unless on
// another goroutine: it may be called by who reads the stream.
//
// Sessions are kept in Redis for RecoveryOptions.MaxDisconnection; its MaxBytes and MaxSessions mean nothing here. A
// session can be resumed once. The data of a socket is kept as JSON. Volatile events are not sent to a client that
// comes back.
//
// Node.js servers deliver what they emit themselves before what was added earlier by others. A client may miss such
// an event, or get one twice, if it moves from or to one of them while there is traffic.
package redisstreams
