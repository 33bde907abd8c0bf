// Package redis connects the nodes of a cluster by way of Redis.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // github.com/redis/go-redis/v9
//	server := socketio.NewServer(&socketio.Options{Adapter: redisadapter.New(client, nil)})
//
// Any client of go-redis serves: for a single server, Sentinel or Redis Cluster. It remains the
// application's, which closes it after the server.
//
// # Two kinds
//
// [New] speaks with Node.js servers that use createAdapter of @socket.io/redis-adapter 8, and the emitters of
// @socket.io/redis-emitter, over ordinary publish/subscribe. Every node gets every broadcast, except that it does not
// look into those for a room that it has nobody in.
//
// [NewSharded] speaks with those that use createShardedAdapter, over the sharded publish/subscribe of Redis
// 7. On Redis Cluster it spreads the load over the servers, and with rooms of their own channel a node gets what it has
// sockets for only. All nodes must use the same [SubscriptionMode].
//
// The two do not hear each other.
//
// # What is guaranteed
//
// A message reaches a node at most once: it is not sent again if Redis fails while it is sent, whatever
// the client's options say. What one node sends to one channel arrives in order. While the connection to Redis is lost, messages
// are lost; a node notices a connection that has gone silent after about ten seconds and connects anew by itself. Rooms
// take a moment to be subscribed to, during which what other nodes broadcast to them passes by.
//
// All of this is counted in the Stats of the [adapter.Cluster] that a namespace has as its adapter, and
// logged at a bounded rate. This node's own sockets are served all the time.
//
// Nodes are counted by their subscriptions, as Node.js counts them: a node that has died counts until Redis has noticed.
// Requests end at their time-out then, with the answers of the others.
package redis
