// Package nats connects the nodes of a cluster through NATS. All nodes are Go servers: there is no such adapter for Node.js.
//
//	conn, err := nats.Connect("nats://localhost:4222", // github.com/nats-io/nats.go
//		nats.RetryOnFailedConnect(true),    // start even if NATS is not there yet
//		nats.MaxReconnects(-1),             // never give up
//		nats.PingInterval(5*time.Second))   // notice within some 15 s that it is silent
//	server := socketio.NewServer(&socketio.Options{Adapter: natsadapter.New(conn, nil)})
//
// The application keeps the connection, may use it for other things, and closes it after the server. Think about its
// options: by default it is closed for good after 60 attempts to connect, and a silent server is noticed after some six
// minutes.
//
// # Subjects
//
// Each namespace has a subject for all nodes, each node has one for answers to it, and each room has one for the nodes that
// have the room, so that a node receives only what it can deliver:
//
//	myriad.NAMESPACE.all   myriad.NAMESPACE.node.UID   myriad.NAMESPACE.room.ROOM
//
// Names are encoded: bytes other than letters, digits, "-" and "_" become "%" and two hexadecimal digits, the namespace loses
// its leading slash, an empty name becomes "%", and a name that would be longer than 240 bytes becomes "~" and its SHA-256.
// An account with permission to publish and subscribe to "myriad.>" is enough. Whoever has it can do what a node can do.
//
// A message to several rooms, or to a room that is named after a socket, goes to all nodes; Options.SubscriptionMode changes
// the latter. Operations that expect answers go to all nodes, too.
//
// # Guarantees
//
// A message reaches a node at most once. What one node sends arrives in order, whatever the subjects and sizes.
//
// A message over the server's max_payload (1 MB by default) is sent in parts. If a part is lost, so is the message. A message
// over [adapter.MaxMessageBytes] is dropped, counted and logged, and requests return [ErrTooLarge]. The server disconnects a
// node that falls behind by more than the server's max_pending (64 MB by default).
//
// While the connection is lost, a node serves its own sockets and misses what others publish. What it publishes itself is
// kept up to nats.ReconnectBufSize (8 MB by default; negative means nothing) and sent after reconnecting, to the nodes that
// are there by then. The rest fails, and is counted and logged. The node subscribes again within two seconds of reconnecting.
//
// If the server hangs, only messages to other nodes wait, up to MaxQueuedBytes. What does not fit is dropped, counted and
// logged, and requests return [adapter.ErrQueueFull].
//
// A node subscribes to a room moments after the room's first member has joined; messages of other nodes before that do not
// reach it.
//
// A node receives while it delivers. What waits for delivery is bounded by MaxPendingBytes. What does not fit is dropped,
// counted and logged.
//
// Nodes are counted by heartbeats. A node that dies counts for HeartbeatOptions.Timeout, 10 s by default; requests then end
// without its answer. A node that is cut off counts only itself after that time.
//
// Data that is not a message is dropped, counted and logged at a bounded rate.
//
// The figures are in the Stats of the [adapter.Cluster] that is the namespace's adapter.
package nats
