// Package nats connects the nodes of a cluster by way of NATS. All of them are Go servers: Node.js has no adapter that
// speaks with this one.
//
//	conn, err := nats.Connect("nats://localhost:4222", // github.com/nats-io/nats.go
//		nats.RetryOnFailedConnect(true),    // start without NATS, if need be
//		nats.MaxReconnects(-1),             // never give it up
//		nats.PingInterval(5*time.Second))   // notice within some 15 s that it is silent
//	server := socketio.NewServer(&socketio.Options{Adapter: natsadapter.New(conn, nil)})
//
// The connection remains the application's, which closes it after the server; it may be used for other things, too. Its
// defaults are to be reconsidered: with them it is closed for good after 60 tries to connect, and a silent server is
// noticed after some six minutes.
//
// # Subjects
//
// Each namespace has a subject for all nodes, each node one for answers to it, and each room one for the nodes that have
// it, so that a node hears what it can deliver:
//
//	myriad.NAMESPACE.all   myriad.NAMESPACE.node.UID   myriad.NAMESPACE.room.ROOM
//
// Names are encoded: bytes other than letters, digits, "-" and "_" as "%" and two hexadecimal digits, the namespace
// without its leading slash, an empty name as "%", and one that would be longer than 240 bytes as "~" and its SHA-256.
// An account with permission to publish and subscribe to "myriad.>" is enough. Everybody who has it can do what a node
// can.
//
// A message to several rooms, or to a room that is named after a socket, is for all nodes; Options.SubscriptionMode
// changes the latter. Operations that expect answers are for all nodes, too.
//
// # What is guaranteed
//
// A message reaches a node at most once. What one node sends arrives in order, whatever the subjects: to all, to a room,
// small or large.
//
// A message over the server's max_payload (1 MB by default) is sent in parts. If a part is lost, the message is. Above
// [adapter.MaxMessageBytes] a message is dropped, counted and logged, and requests return [ErrTooLarge]. The server's
// max_pending (64 MB by default) bounds what a node may be behind with; the server disconnects it then.
//
// While the connection is lost, a node serves its own sockets; what others publish is lost to it. What it publishes is kept
// up to nats.ReconnectBufSize (8 MB by default; negative means nothing) and sent when the connection is there again, to
// the nodes that are there by then. The rest fails, and is counted and logged. Subscriptions are made anew.
//
// A server that hangs blocks nothing but what is for other nodes: that waits, up to MaxQueuedBytes. What does not fit is
// dropped, counted and logged, and requests return [adapter.ErrQueueFull].
//
// Rooms take a moment to be subscribed to, during which what other nodes send to them passes by.
//
// A node that does not get on with what it receives keeps MaxPendingBytes of it. What does not fit is dropped,
// counted and logged.
//
// Nodes are counted by heartbeats. A node that dies counts for HeartbeatOptions.Timeout, 10 s by default; requests then
// end without its answer. A node that is cut off counts itself alone after that time.
//
// What is no message is dropped, counted and logged at a bounded rate.
//
// The figures are in the Stats of the [adapter.Cluster] that a namespace has as its adapter.
package nats
