// Package redis connects the nodes of a cluster through Redis publish/subscribe.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // github.com/redis/go-redis/v9
//	server := socketio.NewServer(&socketio.Options{Adapter: redisadapter.New(client, nil)})
//
// Any go-redis client works: for a single server, Sentinel or Redis Cluster. The application owns the client and closes it
// after the server.
//
// # Two kinds
//
// [New] is compatible with createAdapter of @socket.io/redis-adapter 8 and with @socket.io/redis-emitter. It uses ordinary
// publish/subscribe: every node receives every broadcast. A node ignores broadcasts to rooms without local members and does
// not decode them.
//
// [NewSharded] is compatible with createShardedAdapter. It uses the sharded publish/subscribe of Redis 7, which spreads the
// load over the masters of a Redis Cluster. With one channel per room, a node receives only broadcasts to its own rooms.
// All nodes must use the same [SubscriptionMode].
//
// The two kinds do not interoperate.
//
// # Guarantees
//
// A message reaches a node at most once: a failed publish is never retried, regardless of the client's options. Messages
// published by one node on one channel arrive in order. Messages published while the connection to Redis is down are lost.
// A node detects a silent connection after about ten seconds and reconnects. A node subscribes to a room's channel shortly
// after the room's first member joins; earlier broadcasts by other nodes do not reach it.
//
// A node reads from Redis while it delivers. Delivery is in order of arrival within a namespace and independent between
// namespaces. MaxPendingBytes bounds the messages waiting for delivery. A namespace that falls behind blocks reading for up
// to a second; after that, messages that exceed the bound are dropped.
//
// Losses are counted in the Stats of the namespace's [adapter.Cluster] and logged at a bounded rate. Local sockets are
// always served.
//
// Nodes are counted by their subscriptions, as in Node.js: a dead node counts until Redis notices. Until then, requests run
// into their time-out and return the answers of the other nodes.
package redis
