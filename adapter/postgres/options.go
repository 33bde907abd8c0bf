package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/myriad-rt/myriad/adapter"
)

// Options configure the adapters of New. The zero value gives the defaults. Options that nodes must agree on say so.
type Options struct {
	// ChannelPrefix is what the names of all channels begin with. "" means "socket.io". Nodes must agree on it.
	// Node.js: channelPrefix.
	ChannelPrefix string
	// TableName is the table of attachments. It stands in statements as it is: it may begin with the name of
	// a schema, and has quotation marks if it needs them. "" means "socket_io_attachments". Nodes must agree on it.
	// Node.js: tableName.
	TableName string
	// PayloadThreshold is the size in bytes of the longest message that is sent without the table. Zero means 8000.
	// PostgreSQL takes none of 8000 bytes or more, so that such messages go to the table in any case. Node.js:
	// payloadThreshold.
	PayloadThreshold int
	// CleanupInterval is the time between two looks for attachments that are older than that, to delete them. It
	// is to be longer than nodes may take to ask for one. Zero means 30 s. Node.js: cleanupInterval.
	CleanupInterval time.Duration

	// ClusterOptions are those of every adapter for a cluster. Errors that Node.js passes to its option errorHandler are
	// logged.
	adapter.ClusterOptions
}

func (o *Options) withDefaults() *Options {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.ChannelPrefix == "" {
		opts.ChannelPrefix = "socket.io"
	}
	if opts.TableName == "" {
		opts.TableName = "socket_io_attachments"
	}
	if opts.PayloadThreshold <= 0 {
		opts.PayloadThreshold = 8000
	}
	if opts.CleanupInterval <= 0 {
		opts.CleanupInterval = 30 * time.Second
	}
	return &opts
}

// channel returns the channel of a namespace, with errChannel, wrapped, if PostgreSQL does not take it.
func (o *Options) channel(namespace string) (string, error) {
	name := o.ChannelPrefix + "#" + namespace
	return name, checkChannel(name)
}

// New returns a factory for adapters that speak with those of @socket.io/postgres-adapter. o may be nil. The namespaces of
// one factory share one connection that listens, made with the configuration of the pool, apart from its connections.
func New(p *pgxpool.Pool, o *Options) adapter.Factory {
	opts := o.withDefaults()
	shared := &pool{Pool: p}
	r := newReceiver(shared, opts)
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &opts.ClusterOptions, newBackend(shared, r, opts, ns.Name()))
	}
}

// CreateTable creates the table of attachments, unless it is there: as Node.js, adapters do not do that themselves. Any
// number of nodes may do it at once. o may be nil.
func CreateTable(ctx context.Context, p *pgxpool.Pool, o *Options) error {
	table := o.withDefaults().TableName
	err := pgx.BeginFunc(ctx, p, func(tx pgx.Tx) error {
		// CREATE TABLE IF NOT EXISTS fails when it happens twice at a time.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext($1))", table); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+table+
			" (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)")
		return err
	})
	if err != nil {
		return fmt.Errorf("postgres: creating the table of attachments: %w", err)
	}
	return nil
}
