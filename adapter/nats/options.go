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
	// MaxPendingBytes bounds what has been received and is not handled yet; further messages of other nodes are
	// dropped, counted and logged. Zero means 64 MiB.
	MaxPendingBytes int

	// ClusterOptions are those of every adapter for a cluster.
	adapter.ClusterOptions
}

const (
	defaultPrefix          = "myriad"
	defaultMaxPendingBytes = 64 << 20
)

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
	if c.MaxPendingBytes <= 0 {
		c.MaxPendingBytes = defaultMaxPendingBytes
	}
	return c
}

// New returns a factory for the adapters of one server. o may be nil. It panics if the prefix is no subject or the mode
// is none. conn remains the application's, which closes it after the server.
func New(conn *nats.Conn, o *Options) adapter.Factory {
	opts := o.withDefaults()
	h := newHub(conn, opts.MaxPendingBytes, opts.Logger)
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &opts.ClusterOptions, newBackend(h, &opts, ns.Name()))
	}
}
