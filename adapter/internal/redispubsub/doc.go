// Package redispubsub publishes to and subscribes to Redis channels, ordinary and sharded.
//
// It implements the driver for Redis of internal/subscribe. Packages adapter/redis and adapter/redisstreams import it.
package redispubsub
