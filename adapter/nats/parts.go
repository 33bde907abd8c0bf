package nats

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/myriad-rt/myriad/adapter"
)

const (
	// partPatience is how long the next part of a message may take to come.
	partPatience = 30 * time.Second
	// maxPartBytes bounds the incomplete messages that are kept for a namespace.
	maxPartBytes = 2 * adapter.MaxMessageBytes
	// partialSize is what an incomplete message takes beside its bytes.
	partialSize = 256
)

// parts puts messages together that came in parts. It is for one goroutine at a time.
type parts struct {
	bySender map[[senderSize]byte]*partial
	bytes    int
	looked   time.Time // when expire looked last
}

// partial is a message of which parts are missing. A sender has one at a time.
type partial struct {
	number uint32
	total  int
	data   []byte
	last   time.Time
}

func malformed(what string) error { return fmt.Errorf("%w: %s", adapter.ErrMalformed, what) }

// add returns the message that a part has completed, or nil. Parts whose beginning has not been seen are
// ignored: the subscription may have been made meanwhile.
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

// expire drops messages whose next part has not come in time. It may be called often.
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
