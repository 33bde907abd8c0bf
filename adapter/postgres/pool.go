package postgres

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// pool wraps the application's pool. When PostgreSQL or a proxy restarts, all connections fail, and each idle connection
// would lose messages. So after one has failed, the others are tested before use.
type pool struct {
	*pgxpool.Pool
	failed atomic.Int64 // when a connection last failed, in nanoseconds since 1970
}

// tried is the key in a connection's CustomData for the time of its last test.
const tried = "github.com/myriad-rt/myriad/adapter/postgres.tried"

// acquire returns a connection that is not known to be broken. The caller releases it.
func (p *pool) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	for {
		conn, err := p.Pool.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		data := conn.Conn().PgConn().CustomData()
		failed := p.failed.Load()
		if at, _ := data[tried].(int64); at >= failed {
			return conn, nil
		}
		now := time.Now().UnixNano()
		if err = conn.Ping(ctx); err == nil {
			data[tried] = now
			return conn, nil
		}
		conn.Release() // closes it
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// suspect records that a connection has failed.
func (p *pool) suspect() { p.failed.Store(time.Now().UnixNano()) }
