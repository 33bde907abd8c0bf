// Package postgres connects the nodes of a cluster by way of PostgreSQL.
//
//	pool, err := pgxpool.New(ctx, "postgres://localhost/app") // github.com/jackc/pgx/v5/pgxpool
//	err = postgres.CreateTable(ctx, pool, nil)
//	server := socketio.NewServer(&socketio.Options{Adapter: postgres.New(pool, nil)})
//
// The pool remains the application's, which closes it after the server. It should have connections to spare: what nodes tell
// each other waits while there is none. A proxy before PostgreSQL must keep a client on one connection, as LISTEN needs.
//
// Nodes may be Node.js servers with @socket.io/postgres-adapter 0.4 or later, and processes that emit with
// @socket.io/postgres-emitter are heard, which those versions of the adapter do not do.
//
// # How messages travel
//
// A message is a notification on the channel of its namespace. What is binary, or too long for a notification, goes to a
// table of attachments, which [CreateTable] creates, and the notification says where it is. Each node deletes attachments of
// anybody that are older than [Options.CleanupInterval].
//
// Every node gets everything, answers to others included. PostgreSQL delivers notifications one transaction after the other,
// whatever database they are in, so that it carries thousands of messages a second, and not as many as Redis does.
//
// A channel's name has at most 63 bytes, "socket.io#" before that of the namespace included. A namespace whose name is longer,
// or is no valid UTF-8, serves this node alone: its messages to other nodes fail.
//
// # What is guaranteed
//
// Sockets of this node are served all the time, whether PostgreSQL works or not. A message reaches another node at most once.
// In particular:
//
//   - What is published is not published again, whatever becomes of it. If PostgreSQL refuses it (there is no table, its disk is
//     full), this message is lost, and no other. If the connection fails, or PostgreSQL takes longer than ten seconds, the messages
//     under way are lost. Other connections of the pool are tried before they are used, then. Where connections may fall silent, give
//     the pool a PingTimeout (pool_ping_timeout): without one, each that has done so takes another ten seconds.
//   - What waits for PostgreSQL is bounded by MaxQueuedBytes. Further messages are lost.
//   - What one Go node sends in one namespace arrives in order on Go nodes, attachments included. Node.js nodes keep no order.
//   - An attachment is asked for twice, for five seconds in all. If it is not there by then, that message is lost. Those behind
//     it wait meanwhile, up to 16 MiB of them; further ones are lost.
//   - A node whose connection that listens is lost hears nothing until it is there again. It tries that by itself, at
//     first at once, then every two seconds. It notices a connection that has gone silent after about ten seconds.
//   - A node counts until it says that it leaves, or was not heard of for Heartbeat.Timeout, ten seconds. Requests do not
//     wait for it any longer. Those that come to no end return adapter.ErrTimeout with the answers that came.
//   - What is no message of a node is ignored.
//
// All of this is counted in the Stats of the [adapter.Cluster] that a namespace has as its adapter, and logged at a bounded
// rate: Failed is what could not be published, Dropped what there was no room for, Malformed what was ignored and what
// attachments were not to be had, and Lost how often the connection that listens was.
package postgres
