package postgres

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// pool is that of the application. When PostgreSQL restarts, or a proxy before it, all connections fail, and each of those that
// are idle would take messages with it. So after the first has failed, the others are tried before they are used.
type pool struct {
	*pgxpool.Pool
	failed atomic.Int64 // when a connection last failed, in nanoseconds since 1970
}

// tried is the name under which a connection keeps when it was tried last.
const tried = "github.com/myriad-rt/myriad/adapter/postgres.tried"

// acquire returns a connection that works as far as is known. The caller releases it.
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
		conn.Release() // which closes it
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// suspect takes note that a connection has failed.
func (p *pool) suspect() { p.failed.Store(time.Now().UnixNano()) }
