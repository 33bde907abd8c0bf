// Package nats connects the nodes of a cluster through NATS. All nodes are Go servers: Node.js has no such adapter.
//
//	conn, err := nats.Connect("nats://localhost:4222", // github.com/nats-io/nats.go
//		nats.RetryOnFailedConnect(true),    // start even if NATS is down
//		nats.MaxReconnects(-1),             // never give up
//		nats.PingInterval(5*time.Second))   // detect a silent server within about 15 s
//	server := socketio.NewServer(&socketio.Options{Adapter: natsadapter.New(conn, nil)})
//
// The application owns the connection, may use it for other purposes, and closes it after the server. Choose its options
// with care: by default it closes permanently after 60 failed attempts to reconnect, and it takes about six minutes to
// detect a silent server.
//
// # Subjects
//
// Each namespace has a subject for all nodes, each node has a subject for answers, and each room has a subject for the nodes
// that have the room. So a node receives only messages that it can deliver:
//
//	myriad.NAMESPACE.all   myriad.NAMESPACE.node.UID   myriad.NAMESPACE.room.ROOM
//
// Names are encoded. Bytes other than letters, digits, "-" and "_" become "%" and two hexadecimal digits. The namespace loses
// its leading slash. An empty name becomes "%", and a name whose encoding exceeds 240 bytes becomes "~" and its SHA-256.
// A node needs permission to publish and subscribe to "myriad.>". Any account with this permission can act as a node.
//
// A message to several rooms, or to a room named after a socket, goes to all nodes; Options.SubscriptionMode changes the
// latter. Operations that expect answers go to all nodes, too.
//
// # Guarantees
//
// A message reaches a node at most once. Messages of one node arrive in order, across subjects and sizes.
//
// A message larger than the server's max_payload (1 MB by default) is sent in parts. If a part is lost, the message is lost.
// A message larger than [adapter.MaxMessageBytes] is dropped, counted and logged, and requests return [ErrTooLarge]. The
// server disconnects a node that falls behind by more than the server's max_pending (64 MB by default).
//
// While the connection is down, a node serves its own sockets and misses messages of other nodes. The client buffers up to
// nats.ReconnectBufSize bytes of the node's own messages (8 MB by default; a negative size disables the buffer) and sends
// them after reconnecting, to the nodes connected by then. Further messages fail and are counted and logged. The node
// subscribes again within two seconds of reconnecting.
//
// If the server hangs, only messages to other nodes wait, up to MaxQueuedBytes. Further messages are dropped, counted and
// logged, and requests return [adapter.ErrQueueFull].
//
// A node subscribes to a room shortly after the room's first member joins; earlier messages of other nodes do not reach it.
//
// A node receives while it delivers. MaxPendingBytes bounds the messages waiting for delivery. Further messages are dropped,
// counted and logged.
//
// Nodes are counted by heartbeats. A dead node counts for HeartbeatOptions.Timeout, 10 s by default; then requests end
// without its answer. After the same time, an isolated node counts only itself.
//
// Malformed messages are dropped, counted and logged at a bounded rate.
//
// The counters are in the Stats of the namespace's [adapter.Cluster].
package nats
