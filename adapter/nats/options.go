package nats

import (
	"github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/adapter"
)

// Options configures the adapters returned by New. The zero value selects the defaults. An option that must be the same on
// all nodes says so.
type Options struct {
	// Prefix is the prefix of all subjects: one or more tokens, separated by dots. "" means "myriad". It must be the same
	// on all nodes.
	Prefix string
	// SubscriptionMode selects the rooms that have their own subject. "" means adapter.Dynamic. It must be the same on
	// all nodes.
	SubscriptionMode adapter.SubscriptionMode
	// ClusterOptions holds the options common to all cluster adapters. A nil Heartbeat selects its defaults.
	adapter.ClusterOptions
}

const defaultPrefix = "myriad"

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if !validPrefix(c.Prefix) {
		panic("nats: invalid Prefix: " + c.Prefix)
	}
	c.SubscriptionMode = c.SubscriptionMode.WithDefault()
	return c
}

// New returns a factory for the adapters of one server. o may be nil. New panics if the prefix is not a valid subject or
// the subscription mode is unknown. The application owns conn and closes it after the server.
func New(conn *nats.Conn, o *Options) adapter.Factory {
	opts := o.withDefaults()
	r := newReceiver(conn, &opts)
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &opts.ClusterOptions, newBackend(conn, r, &opts, ns.Name()))
	}
}
