// Package redis connects the nodes of a cluster through Redis publish/subscribe.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // github.com/redis/go-redis/v9
//	server := socketio.NewServer(&socketio.Options{Adapter: redisadapter.New(client, nil)})
//
// Any go-redis client works: for a single server, Sentinel or Redis Cluster. The application keeps the client and closes it
// after the server.
//
// # Two kinds
//
// [New] is compatible with Node.js servers that use createAdapter of @socket.io/redis-adapter 8 and with the emitters of
// @socket.io/redis-emitter. It uses ordinary publish/subscribe: every node receives every broadcast, and ignores broadcasts
// to rooms that none of its sockets is in without decoding them.
//
// [NewSharded] is compatible with servers that use createShardedAdapter. It uses the sharded publish/subscribe of Redis 7,
// which spreads the load over the masters of a Redis Cluster. With a channel for each room, a node receives only broadcasts
// for rooms that it has. All nodes must use the same [SubscriptionMode].
//
// Nodes of the two kinds do not hear each other.
//
// # Guarantees
//
// A message reaches a node at most once: if Redis fails while a message is being published, it is not published again,
// whatever the client's options say. What one node publishes on one channel arrives in order. Messages published while the
// connection to Redis is lost are lost. A node notices after about ten seconds that a connection has gone silent, and
// reconnects by itself. A node subscribes to the channel of a room moments after the room's first member has joined;
// broadcasts of other nodes before that do not reach it.
//
// A node reads from Redis while it delivers, in the order of arrival within a namespace and independently between
// namespaces. What waits for delivery is bounded by MaxPendingBytes. A namespace that does not keep up makes Redis wait for
// a second; after that, messages that find no room are dropped.
//
// Losses are counted in the Stats of the [adapter.Cluster] that is the namespace's adapter, and logged at a bounded rate.
// The sockets of this node are always served.
//
// Nodes are counted by their subscriptions, as Node.js counts them: a node that has died counts until Redis notices. Until
// then, requests end at their time-out, with the answers of the other nodes.
package redis
