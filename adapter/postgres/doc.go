// Package postgres connects the nodes of a cluster through PostgreSQL.
//
//	pool, err := pgxpool.New(ctx, "postgres://localhost/app") // github.com/jackc/pgx/v5/pgxpool
//	err = postgres.CreateTable(ctx, pool, nil)
//	server := socketio.NewServer(&socketio.Options{Adapter: postgres.New(pool, nil)})
//
// The application owns the pool and closes it after the server. The pool needs spare connections: messages to other nodes
// wait until one is free. A proxy in front of PostgreSQL must use session pooling, because LISTEN requires a connection of
// its own.
//
// The package is compatible with @socket.io/postgres-adapter 0.4 or later. It also accepts messages of
// @socket.io/postgres-emitter, although those versions of the adapter ignore them.
//
// # How messages travel
//
// A message is a notification on the channel of its namespace. Binary messages and messages too long for a notification are
// stored in a table of attachments, and the notification refers to the row. [CreateTable] creates the table. Each node
// deletes all attachments older than [Options.CleanupInterval].
//
// Every node receives every message, including answers to other nodes. PostgreSQL serializes the transactions that notify,
// across all its databases. It carries thousands of messages per second, fewer than Redis.
//
// A channel name has at most 63 bytes, including the prefix "socket.io#". If a namespace's name is longer or is not valid
// UTF-8, the namespace works on this node only: its messages to other nodes fail.
//
// # Guarantees
//
// Local sockets are always served, even while PostgreSQL is down. A message reaches another node at most once. In detail:
//
//   - A failed publish is never retried. If PostgreSQL rejects a message (the table is missing, the disk is full), only this
//     message is lost. If the connection fails or PostgreSQL takes longer than ten seconds, the messages in flight are lost,
//     and the other connections of the pool are tested before use. If connections can go silent, set the pool's PingTimeout
//     (pool_ping_timeout): without it, each silent connection costs another ten seconds.
//   - MaxQueuedBytes bounds the messages waiting for PostgreSQL. Further messages are lost.
//   - Messages of one Go node in one namespace arrive at Go nodes in order, including attachments. Node.js nodes do not
//     preserve order.
//   - If an attachment cannot be fetched within five seconds and two attempts, its message is lost. Later messages wait.
//   - A node listens while it delivers. MaxPendingBytes bounds the messages waiting for delivery or for an attachment. A
//     namespace that falls behind blocks reading for up to a second; after that, messages that exceed the bound are lost.
//   - A node that loses its listening connection receives nothing until it has a new one. It reconnects at once and then
//     every two seconds. It detects a silent connection after about ten seconds.
//   - A node counts until it announces that it leaves or has been silent for Heartbeat.Timeout, ten seconds by default.
//     Requests stop waiting for it then. Incomplete requests return adapter.ErrTimeout with the answers so far.
//   - Notifications that are not messages of a node are ignored.
//
// The Stats of the namespace's [adapter.Cluster] count these events, and the log reports them at a bounded rate. Failed
// counts messages that could not be published. Dropped counts messages that exceeded a bound. Malformed counts messages that
// were ignored or whose attachment could not be fetched. Lost counts losses of the listening connection.
package postgres
