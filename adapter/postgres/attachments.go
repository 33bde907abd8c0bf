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
	// maxAttachments is the number of attachments that are fetched at once.
	maxAttachments = 16
	// fetchTimeout is how long that may take.
	fetchTimeout = 5 * time.Second
)

var errNoAttachment = errors.New("postgres: attachment is not there, or too long")

// arrival is a message, or refers to one in the table.
type arrival struct {
	payload    []byte
	attachment int64
	referred   bool
}

// handle takes what has been notified. Messages that have come behind one that is in the table wait for it.
func (b *backend) handle(batch []subscribe.Message) {
	arrivals := make([]arrival, 0, len(batch))
	for i := range batch {
		arrivals = b.look(arrivals, batch[i].Payload)
	}
	var payloads map[int64][]byte
	var err error
	fetched := 0 // those before it are in payloads
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

// look appends what a notification stands for, if that is for this node.
func (b *backend) look(arrivals []arrival, payload []byte) []arrival {
	ref, ok, err := decodeReference(payload)
	switch {
	case err != nil:
		b.node.Receive(nil, err)
	case ok && ref.uid == b.uid:
	case ok && ref.kind.IsResponse() && !b.node.Awaits(""):
		// It is for another node, but shows that its sender is there.
		b.node.Receive(&adapter.Message{Type: ref.kind, UID: ref.uid}, nil)
	default:
		return append(arrivals, arrival{payload: payload, attachment: ref.id, referred: ok})
	}
	return arrivals
}

// fetchAll returns the attachments with these ids. It asks twice: reading changes nothing.
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
