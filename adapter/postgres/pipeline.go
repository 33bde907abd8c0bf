package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

var errNoResult = errors.New("postgres: connection ended before the result arrived")

// inPipeline sends n statements in one pipeline, each in its own transaction, and returns the error of each. If the
// connection fails, unconfirmed statements have an error, and conn is closed.
func inPipeline(ctx context.Context, conn *pgconn.PgConn, n int, send func(p *pgconn.Pipeline, i int)) []error {
	errs := make([]error, n)
	p := conn.StartPipeline(ctx)
	for i := range n {
		send(p, i)
		p.SendPipelineSync()
	}
	broken := p.Flush()
	for i := range n {
		if broken == nil {
			errs[i], broken = nextResult(p)
		}
		if broken != nil && errs[i] == nil {
			errs[i] = broken
		}
	}
	_ = p.Close() // closes conn if it is broken
	return errs
}

// nextResult returns the error of the next statement. broken is non-nil if the connection yields no more results.
func nextResult(p *pgconn.Pipeline) (failed, broken error) {
	for {
		result, err := p.GetResults()
		switch r := result.(type) {
		case *pgconn.ResultReader:
			_, err = r.Close()
		case *pgconn.PipelineSync:
			return failed, nil
		case nil:
			if err == nil {
				err = errNoResult
			}
		}
		var statement *pgconn.PgError
		switch {
		case err == nil:
		case !errors.As(err, &statement):
			return failed, err
		case failed == nil:
			failed = err
		}
	}
}
