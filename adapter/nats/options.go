package nats

import (
	"github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/adapter"
)

// Options configure the adapters of New. The zero value gives the defaults. Options that nodes must agree on say so.
type Options struct {
	// Prefix is what all subjects begin with: one or more tokens, with dots between them. "" means "myriad". Nodes must
	// agree on it.
	Prefix string
	// SubscriptionMode says which rooms have a subject of their own. "" means adapter.Dynamic. Nodes must agree on
	// it.
	SubscriptionMode adapter.SubscriptionMode
	// ClusterOptions are those of every adapter for a cluster. If Heartbeat is nil, its defaults are used.
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
		panic("nats: prefix is no subject: " + c.Prefix)
	}
	c.SubscriptionMode = c.SubscriptionMode.WithDefault()
	return c
}

// New returns a factory for the adapters of one server. o may be nil. It panics if the prefix is no subject or the mode
// is none. conn remains the application's, which closes it after the server.
func New(conn *nats.Conn, o *Options) adapter.Factory {
	opts := o.withDefaults()
	r := newReceiver(conn, &opts)
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &opts.ClusterOptions, newBackend(conn, r, &opts, ns.Name()))
	}
}
