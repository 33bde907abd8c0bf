// Package pubsub publishes on channels of Redis, and subscribes to them, for the adapters that do.
package pubsub
