package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/subscribe"
)

const (
	// maxAttachments is the maximum number of attachments per query.
	maxAttachments = 16
	// fetchTimeout is the time limit for fetching attachments, over both attempts.
	fetchTimeout = 5 * time.Second
)

var errNoAttachment = errors.New("postgres: attachment is missing or too long")

// arrival is a message or a reference to one in the table.
type arrival struct {
	payload    []byte
	attachment int64
	referred   bool
}

// handle handles notifications in order. A message in the table is fetched before later messages are handled.
func (b *backend) handle(batch []subscribe.Message) {
	arrivals := make([]arrival, 0, len(batch))
	for i := range batch {
		arrivals = b.look(arrivals, batch[i].Payload)
	}
	var payloads map[int64][]byte
	var err error
	fetched := 0 // attachments of arrivals before this index have been fetched
	for i, a := range arrivals {
		if a.referred && i >= fetched {
			var ids []int64
			for fetched = i; fetched < len(arrivals) && len(ids) < maxAttachments; fetched++ {
				if arrivals[fetched].referred {
					ids = append(ids, arrivals[fetched].attachment)
				}
			}
			payloads, err = b.fetchAll(ids)
		}
		payload := a.payload
		if a.referred {
			payload = payloads[a.attachment]
		}
		switch {
		case payload != nil:
			b.node.ReceiveEncoded(payload)
		case b.ctx.Err() != nil:
			return
		default:
			b.node.Receive(nil, fmt.Errorf("%w: %d", cmp.Or(err, errNoAttachment), a.attachment))
		}
	}
}

// look appends the message or reference in a notification if it is for this node.
func (b *backend) look(arrivals []arrival, payload []byte) []arrival {
	ref, ok, err := decodeReference(payload)
	switch {
	case err != nil:
		b.node.Receive(nil, err)
	case ok && ref.uid == b.uid:
	case ok && ref.kind.IsResponse() && !b.node.Awaits(""):
		// The answer is for another node, but it shows that its sender is alive.
		b.node.Receive(&adapter.Message{Type: ref.kind, UID: ref.uid}, nil)
	default:
		return append(arrivals, arrival{payload: payload, attachment: ref.id, referred: ok})
	}
	return arrivals
}

// fetchAll returns the attachments with these ids. It retries once, which is safe for reading.
func (b *backend) fetchAll(ids []int64) (payloads map[int64][]byte, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, fetchTimeout)
	defer cancel()
	for range 2 {
		if payloads, err = b.query(ctx, ids); err == nil || ctx.Err() != nil {
			break
		}
	}
	return payloads, err
}

func (b *backend) query(ctx context.Context, ids []int64) (map[int64][]byte, error) {
	conn, err := b.pool.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, b.fetch, ids)
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
		b.pool.suspect()
	}
	return payloads, err
}
