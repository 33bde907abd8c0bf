package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/myriad-rt/myriad/internal/subscribe"
)

const (
	// closeTimeout is the time limit for closing a connection in an orderly way.
	closeTimeout = time.Second
	// cleanTimeout is the minimum time limit for deleting old attachments.
	cleanTimeout = 5 * time.Second
)

func newReceiver(p *pool, o *Options) *subscribe.Receiver {
	return subscribe.New(newDriver(p, o), subscribe.Options{
		Backend: "PostgreSQL", Logger: o.Logger, MaxPendingBytes: o.MaxPendingBytes,
	})
}

// driver implements subscribe.Driver. One connection listens to all channels. It uses the pool's configuration but is not
// part of the pool.
type driver struct {
	pool   *pool
	opts   *Options
	logger *slog.Logger
}

func newDriver(p *pool, o *Options) *driver {
	d := &driver{pool: p, opts: o, logger: o.Logger}
	if d.logger == nil {
		d.logger = slog.Default()
	}
	return d
}

// Locate implements subscribe.Driver.
func (d *driver) Locate(context.Context, string) (key string, err error) { return "", nil }

// Open implements subscribe.Driver.
func (d *driver) Open(ctx context.Context, _ string, f *subscribe.Feed) (subscribe.Conn, error) {
	config := d.pool.Config()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	config.ConnConfig.Config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		f.Received(subscribe.Message{Name: n.Channel, Channel: n.Channel, Payload: []byte(n.Payload)})
	}
	pg, err := pgconn.ConnectConfig(ctx, &config.ConnConfig.Config)
	if err != nil {
		d.pool.suspect()
		return nil, err
	}
	c := &conn{driver: d, feed: f, pg: pg}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.cleaning.Go(c.clean)
	return c, nil
}

// conn implements subscribe.Conn. While open, it also deletes old attachments.
type conn struct {
	*driver
	feed     *subscribe.Feed
	ctx      context.Context // canceled by Close
	stop     context.CancelFunc
	cleaning sync.WaitGroup

	// turn is acquired before using. It prevents Receive from acquiring using again before a waiting caller of use.
	turn, using sync.Mutex
	pg          *pgconn.PgConn // guarded by using
}

// Receive implements subscribe.Conn.
func (c *conn) Receive() error {
	for {
		c.turn.Lock()
		c.using.Lock()
		c.turn.Unlock()
		var err error
		for err == nil {
			err = c.pg.WaitForNotification(context.Background()) // OnNotification, set by Open, receives it
		}
		c.using.Unlock()
		if !pgconn.Timeout(err) {
			c.pool.suspect()
			return err
		}
	}
}

// use calls f while Receive does not use the connection. f may use it.
func (c *conn) use(f func()) {
	c.turn.Lock()
	defer c.turn.Unlock()
	_ = c.pg.Conn().SetReadDeadline(time.Unix(1, 0)) // interrupts Receive
	c.using.Lock()
	defer c.using.Unlock()
	_ = c.pg.Conn().SetReadDeadline(time.Time{})
	f()
}

// Subscribe implements subscribe.Conn.
func (c *conn) Subscribe(ctx context.Context, names []string) error {
	errs := c.execute(ctx, "LISTEN ", names)
	for i, name := range names {
		if errs[i] == nil {
			c.feed.Confirmed(name)
		} else if isAboutText(errs[i]) {
			c.logger.Warn("PostgreSQL rejected the name of a channel", "channel", name, "err", errs[i])
		}
	}
	return broken(errs)
}

// Unsubscribe implements subscribe.Conn.
func (c *conn) Unsubscribe(ctx context.Context, names []string) error {
	return broken(c.execute(ctx, "UNLISTEN ", names))
}

// broken returns the first error that concerns the connection. It ignores errors about a name that the database's encoding
// cannot represent, which must not affect other channels.
func broken(errs []error) error {
	for _, err := range errs {
		if err != nil && !isAboutText(err) {
			return err
		}
	}
	return nil
}

// execute executes a statement for each channel and returns the error of each.
func (c *conn) execute(ctx context.Context, statement string, channels []string) (errs []error) {
	c.use(func() {
		errs = inPipeline(ctx, c.pg, len(channels), func(p *pgconn.Pipeline, i int) {
			p.SendQueryParams(statement+pgx.Identifier{channels[i]}.Sanitize(), nil, nil, nil, nil)
		})
	})
	return errs
}

// isAboutText reports whether a statement failed because of its text: class 22, data exception.
func isAboutText(err error) bool {
	var statement *pgconn.PgError
	return errors.As(err, &statement) && len(statement.Code) == 5 && statement.Code[:2] == "22"
}

// Ping implements subscribe.Conn.
func (c *conn) Ping(ctx context.Context) (err error) {
	c.use(func() { err = c.pg.Ping(ctx) })
	if err == nil {
		c.feed.Heard()
	}
	return err
}

// Close implements subscribe.Conn.
func (c *conn) Close() {
	c.stop()
	c.use(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = c.pg.Close(ctx) // the connection is discarded in any case
	})
	c.cleaning.Wait()
}

// clean periodically deletes old attachments of all nodes.
func (c *conn) clean() {
	statement := fmt.Sprintf("DELETE FROM %s WHERE created_at < now() - interval '%d milliseconds'",
		c.opts.TableName, max(c.opts.CleanupInterval.Milliseconds(), 1))
	ticker := time.NewTicker(c.opts.CleanupInterval)
	defer ticker.Stop()
	failed := false
	for {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, max(c.opts.CleanupInterval, cleanTimeout))
		_, err := c.pool.Exec(ctx, statement)
		cancel()
		if err != nil && !failed && c.ctx.Err() == nil {
			c.logger.Warn("cannot delete old attachments in PostgreSQL", "err", err)
		}
		failed = err != nil
	}
}
