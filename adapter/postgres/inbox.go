package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/myriad-rt/myriad/adapter"
)

const (
	// maxAttachments is the number of attachments that are fetched at once.
	maxAttachments = 16
	// fetchTimeout is how long that may take.
	fetchTimeout = 5 * time.Second
	// maxInbox bounds what waits for an attachment before it, in bytes.
	maxInbox = 16 << 20
)

var errNoAttachment = errors.New("postgres: attachment is not there, or too long")

// arrival is a message, or refers to one in the table.
type arrival struct {
	payload    []byte
	attachment int64
	referred   bool
}

func (a *arrival) size() int { return len(a.payload) + 64 }

// inbox keeps messages in order: those that have come wait for an attachment before them. While none does, they are
// received at once; otherwise a goroutine does that.
type inbox struct {
	b     *backend
	fetch string          // the statement
	ctx   context.Context // ends with the backend
	stop  context.CancelFunc

	mu      sync.Mutex
	waiting []arrival
	bytes   int
	busy    sync.WaitGroup // the goroutine
	running bool
}

func (in *inbox) init(b *backend) {
	in.b = b
	in.ctx, in.stop = context.WithCancel(context.Background())
	in.fetch = fmt.Sprintf("SELECT id, CASE WHEN octet_length(payload) <= %d THEN payload END FROM %s WHERE id = ANY($1)",
		adapter.MaxMessageBytes, b.opts.TableName)
}

// add takes what has come. One goroutine at a time calls it.
func (in *inbox) add(a arrival) {
	in.mu.Lock()
	if !in.running && !a.referred {
		in.mu.Unlock()
		in.b.node.ReceiveEncoded(a.payload)
		return
	}
	defer in.mu.Unlock()
	if in.ctx.Err() != nil {
		return
	}
	if in.bytes+a.size() > maxInbox {
		in.b.node.Dropped(1)
		return
	}
	in.bytes += a.size()
	in.waiting = append(in.waiting, a)
	if !in.running {
		in.running = true
		in.busy.Go(in.run)
	}
}

// run receives what waits until there is nothing more.
func (in *inbox) run() {
	for {
		batch, ids := in.take()
		if batch == nil {
			return
		}
		payloads, err := in.fetchAll(ids)
		if err == nil {
			err = errNoAttachment
		}
		for _, a := range batch {
			payload := a.payload
			if a.referred {
				payload = payloads[a.attachment]
			}
			switch {
			case payload != nil:
				in.b.node.ReceiveEncoded(payload)
			case in.ctx.Err() == nil:
				in.b.node.Receive(nil, fmt.Errorf("%w: %d", err, a.attachment))
			}
		}
	}
}

// take returns what is to be received next, and the attachments in it. It returns nil when there is nothing more to do.
func (in *inbox) take() (batch []arrival, ids []int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := 0
	for ; n < len(in.waiting); n++ {
		a := &in.waiting[n]
		if a.referred {
			if len(ids) == maxAttachments {
				break
			}
			ids = append(ids, a.attachment)
		}
		in.bytes -= a.size()
	}
	if n == 0 || in.ctx.Err() != nil {
		in.running, in.waiting, in.bytes = false, nil, 0
		return nil, nil
	}
	batch, in.waiting = in.waiting[:n:n], in.waiting[n:]
	return batch, ids
}

// fetchAll returns the attachments with these ids. It asks twice: reading changes nothing.
func (in *inbox) fetchAll(ids []int64) (payloads map[int64][]byte, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(in.ctx, fetchTimeout)
	defer cancel()
	for range 2 {
		if payloads, err = in.query(ctx, ids); err == nil || ctx.Err() != nil {
			break
		}
	}
	return payloads, err
}

func (in *inbox) query(ctx context.Context, ids []int64) (map[int64][]byte, error) {
	conn, err := in.b.pool.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, in.fetch, ids)
	if err != nil {
		return nil, err
	}
	payloads := make(map[int64][]byte, len(ids))
	var id int64
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &payload}, func() error {
		payloads[id], payload = payload, nil
		return nil
	})
	if conn.Conn().IsClosed() {
		in.b.pool.suspect()
	}
	return payloads, err
}

// close gives up what waits.
func (in *inbox) close() {
	in.mu.Lock()
	in.stop()
	in.mu.Unlock()
	in.busy.Wait()
}
