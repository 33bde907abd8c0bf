package nats

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/myriad-rt/myriad/adapter"
)

const (
	// partPatience is the maximum time between two parts of a message.
	partPatience = 30 * time.Second
	// maxPartBytes is the maximum size of the incomplete messages of a namespace.
	maxPartBytes = 2 * adapter.MaxMessageBytes
	// partialSize is the estimated overhead of an incomplete message, in bytes.
	partialSize = 256
)

// parts assembles messages from their parts. It is not safe for concurrent use.
type parts struct {
	bySender map[[senderSize]byte]*partial
	bytes    int
	looked   time.Time // the last check by expire
}

// partial is an incomplete message. A sender has at most one at a time.
type partial struct {
	number uint32
	total  int
	data   []byte
	last   time.Time
}

func malformed(what string) error { return fmt.Errorf("%w: %s", adapter.ErrMalformed, what) }

// add adds a part and returns the message if it is complete, or nil. Without the first part of a message, add ignores the
// others: the subscription may have begun in between.
func (p *parts) add(part []byte, now time.Time) (whole []byte, err error) {
	if len(part) <= partHead {
		return nil, malformed("short part")
	}
	sender := [senderSize]byte(part[1:])
	rest := part[1+senderSize:]
	number := binary.BigEndian.Uint32(rest)
	total, offset := int(binary.BigEndian.Uint32(rest[4:])), int(binary.BigEndian.Uint32(rest[8:]))
	data := part[partHead:]
	if total > adapter.MaxMessageBytes || offset > total-len(data) {
		return nil, malformed("part of a message that is too long")
	}
	m := p.bySender[sender]
	if offset == 0 {
		p.drop(sender)
		m = &partial{number: number, total: total}
		if p.bySender == nil {
			p.bySender = make(map[[senderSize]byte]*partial)
		}
		p.bySender[sender] = m
		p.bytes += partialSize
	}
	if m == nil {
		return nil, nil
	}
	if m.number != number || m.total != total || len(m.data) != offset {
		p.drop(sender)
		return nil, malformed("a part is missing")
	}
	if p.bytes+len(data) > maxPartBytes {
		p.drop(sender)
		return nil, malformed("too many parts")
	}
	m.data, m.last = append(m.data, data...), now
	p.bytes += len(data)
	if len(m.data) < total {
		return nil, nil
	}
	p.drop(sender)
	return m.data, nil
}

func (p *parts) drop(sender [senderSize]byte) {
	if m := p.bySender[sender]; m != nil {
		p.bytes -= len(m.data) + partialSize
		delete(p.bySender, sender)
	}
}

// expire drops messages whose next part is overdue. It is cheap to call often.
func (p *parts) expire(now time.Time) {
	if len(p.bySender) == 0 || now.Sub(p.looked) < time.Second {
		return
	}
	p.looked = now
	for sender, m := range p.bySender {
		if now.Sub(m.last) > partPatience {
			p.drop(sender)
		}
	}
}
