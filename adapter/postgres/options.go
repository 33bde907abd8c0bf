package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/myriad-rt/myriad/adapter"
)

// Options configures the adapters returned by New. The zero value selects the defaults. An option that must be the same on
// all nodes says so.
type Options struct {
	// ChannelPrefix is the prefix of all channel names. "" means "socket.io". It must be the same on all nodes.
	// Node.js: channelPrefix.
	ChannelPrefix string
	// TableName is the table of attachments. It is inserted into statements verbatim: it may include a schema and must
	// be quoted if necessary. "" means "socket_io_attachments". It must be the same on all nodes. Node.js: tableName.
	TableName string
	// PayloadThreshold is the maximum size in bytes of a message sent without the table. Zero means 8000. PostgreSQL
	// rejects notifications of 8000 bytes or more, so longer messages always use the table. Node.js: payloadThreshold.
	PayloadThreshold int
	// CleanupInterval is both the interval between deletions of old attachments and the age at which they are deleted.
	// It must be longer than the time in which nodes fetch attachments. Zero means 30 s. Node.js: cleanupInterval.
	CleanupInterval time.Duration

	// ClusterOptions holds the options common to all cluster adapters. Errors that Node.js passes to its errorHandler
	// option are logged.
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

// channel returns the channel of a namespace, and an error that wraps errChannel if PostgreSQL does not accept it.
func (o *Options) channel(namespace string) (string, error) {
	name := o.ChannelPrefix + "#" + namespace
	return name, checkChannel(name)
}

// New returns a factory for adapters compatible with @socket.io/postgres-adapter. o may be nil. The namespaces of one
// factory share one listening connection. It uses the pool's configuration but is not part of the pool.
func New(p *pgxpool.Pool, o *Options) adapter.Factory {
	opts := o.withDefaults()
	shared := &pool{Pool: p}
	r := newReceiver(shared, opts)
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, &opts.ClusterOptions, newBackend(shared, r, opts, ns.Name()))
	}
}

// CreateTable creates the table of attachments if it does not exist. As in Node.js, adapters do not create it themselves.
// Any number of nodes may call CreateTable at once. o may be nil.
func CreateTable(ctx context.Context, p *pgxpool.Pool, o *Options) error {
	table := o.withDefaults().TableName
	err := pgx.BeginFunc(ctx, p, func(tx pgx.Tx) error {
		// CREATE TABLE IF NOT EXISTS fails if two transactions execute it at once.
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
