package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/myriad-rt/myriad/adapter"
)

// publishTimeout is the time limit for one call of Publish. Messages that PostgreSQL has not confirmed by then count as
// lost.
const publishTimeout = 10 * time.Second

// sender publishes the messages of a node, or of an emitter.
type sender struct {
	pool   *pool
	opts   *Options
	uid    string // EmitterUID until a node sets it
	attach string // the statement that sends an attachment
}

func newSender(p *pool, o *Options) *sender {
	attach := "WITH a AS (INSERT INTO " + o.TableName + " (payload) VALUES ($3) RETURNING id) SELECT " + notify("$2 || a.id || '\"}'") + " FROM a"
	return &sender{pool: p, opts: o, uid: adapter.EmitterUID, attach: attach}
}

// notify returns the expressions of a SELECT that notify the channel $1. A notification need not survive a crash, so the
// commit does not wait for the disk.
func notify(payload string) string {
	return "set_config('synchronous_commit', 'off', true), pg_notify($1, " + payload + ")"
}

var notifyStatement = "SELECT " + notify("$2")

// encode encodes m for publish.
func (s *sender) encode(m *adapter.Message, channel string) adapter.Outgoing {
	return adapter.Outgoing{Type: m.Type, Channel: channel, Payload: encode(m, s.opts.PayloadThreshold)}
}

// publish implements Backend.Publish. Each message has its own transaction: within one, PostgreSQL would merge equal
// notifications, and a failed message would abort the others.
func (s *sender) publish(ctx context.Context, batch []adapter.Outgoing) (sent int, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	conn, err := s.pool.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	errs := inPipeline(ctx, conn.Conn().PgConn(), len(batch), func(p *pgconn.Pipeline, i int) {
		channel, payload := []byte(batch[i].Channel), batch[i].Payload
		if isNotification(payload) {
			p.SendQueryParams(notifyStatement, [][]byte{channel, payload}, []uint32{pgtype.TextOID, pgtype.TextOID}, nil, nil)
			return
		}
		head := appendReferenceHead(nil, s.uid, batch[i].Type)
		p.SendQueryParams(s.attach, [][]byte{channel, head, payload},
			[]uint32{pgtype.TextOID, pgtype.TextOID, pgtype.ByteaOID}, []int16{pgtype.TextFormatCode, pgtype.TextFormatCode, pgtype.BinaryFormatCode}, nil)
	})
	for _, e := range errs {
		if e == nil {
			sent++
		} else if err == nil {
			err = fmt.Errorf("postgres: publishing: %w", e)
		}
	}
	if conn.Conn().IsClosed() {
		s.pool.suspect()
	}
	return sent, err
}
