// Package postgres connects the nodes of a cluster through PostgreSQL.
//
//	pool, err := pgxpool.New(ctx, "postgres://localhost/app") // github.com/jackc/pgx/v5/pgxpool
//	err = postgres.CreateTable(ctx, pool, nil)
//	server := socketio.NewServer(&socketio.Options{Adapter: postgres.New(pool, nil)})
//
// The application keeps the pool and closes it after the server. The pool needs connections to spare: messages to other
// nodes wait while there is none. A proxy in front of PostgreSQL must keep a client on one connection, because LISTEN needs
// that.
//
// Nodes can be Node.js servers with @socket.io/postgres-adapter 0.4 or later. Processes that emit with
// @socket.io/postgres-emitter are heard, too, although those versions of the adapter ignore them.
//
// # How messages travel
//
// A message is a notification on the channel of its namespace. A message that is binary, or too long for a notification, is
// stored in a table of attachments, which [CreateTable] creates, and the notification refers to it. Each node deletes all
// attachments that are older than [Options.CleanupInterval].
//
// Every node receives every message, including answers to other nodes. PostgreSQL delivers the notifications of all its
// databases one transaction after the other, so it carries thousands of messages a second, fewer than Redis.
//
// The name of a channel has at most 63 bytes, including "socket.io#" in front of the namespace. A namespace with a longer
// name, or with one that is not valid UTF-8, works on this node only: its messages to other nodes fail.
//
// # Guarantees
//
// The sockets of this node are always served, whether PostgreSQL works or not. A message reaches another node at most once.
// In detail:
//
//   - A message is published once, whatever becomes of it. If PostgreSQL refuses it (the table is missing, the disk is full),
//     only this message is lost. If the connection fails, or PostgreSQL takes longer than ten seconds, the messages under way
//     are lost, and other connections of the pool are tested before they are used. Where connections can go silent, give the
//     pool a PingTimeout (pool_ping_timeout): without one, each silent connection costs another ten seconds.
//   - What waits for PostgreSQL is bounded by MaxQueuedBytes. Further messages are lost.
//   - What one Go node sends in one namespace arrives at Go nodes in order, attachments included. Node.js nodes keep no order.
//   - An attachment is fetched within five seconds, in two tries, or its message is lost. The messages behind it wait.
//   - A node listens while it delivers. What waits for delivery, or for an attachment, is bounded by MaxPendingBytes. A
//     namespace that does not keep up makes PostgreSQL wait for a second; after that, messages that find no room are lost.
//   - A node whose listening connection is lost hears nothing until it has a new one, which it tries to get at once and then
//     every two seconds. It notices after about ten seconds that the connection has gone silent.
//   - A node counts until it says that it leaves, or has been silent for Heartbeat.Timeout, ten seconds by default. Requests do
//     not wait for it any longer. Requests that remain incomplete return adapter.ErrTimeout with the answers so far.
//   - Notifications that are not messages of a node are ignored.
//
// All of this is counted in the Stats of the [adapter.Cluster] that is the namespace's adapter, and logged at a bounded rate:
// Failed counts messages that could not be published, Dropped those that found no room, Malformed those that were ignored or
// whose attachment could not be fetched, and Lost how often the listening connection was lost.
package postgres
