// Package redispubsub publishes on channels of Redis, ordinary and sharded ones, and subscribes to them.
//
// It imports internal/subscribe, whose driver for Redis it is. The adapters over Redis and over Redis streams import it.
package redispubsub
