package nats

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/adapter"
)

// ErrTooLarge is returned for a request that is too large for other nodes to accept.
var ErrTooLarge = errors.New("nats: message to other nodes is too large")

// A message larger than the server's max_payload is sent in parts. A part consists of partMark, which begins no message, the
// id of the sender, the number of the message, the length of the message, the offset of the part, and a piece of the
// message. Integers are big-endian.
const (
	partMark   = 0
	senderSize = 8
	partHead   = 1 + senderSize + 4 + 4 + 4
)

// unknownPayload is the assumed max_payload, in bytes, before a server has announced its own.
const unknownPayload = 64 << 10

// publisher sends messages. It is for one goroutine at a time.
type publisher struct {
	conn   *nats.Conn
	sender [senderSize]byte
	number uint32
	part   []byte // a buffer
}

func newPublisher(conn *nats.Conn) *publisher {
	p := &publisher{conn: conn}
	rand.Read(p.sender[:]) // never fails
	return p
}

// isOwn reports whether a payload is a part that p has sent. It is safe for concurrent use.
func (p *publisher) isOwn(payload []byte) bool {
	return len(payload) > 0 && payload[0] == partMark && bytes.HasPrefix(payload[1:], p.sender[:])
}

// encode encodes m for publish. Its error wraps ErrTooLarge.
func encode(m *adapter.Message) ([]byte, error) {
	payload := m.Append(nil)
	if len(payload) > adapter.MaxMessageBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(payload))
	}
	return payload, nil
}

// publish sends a message, in parts if necessary. After an error, the message does not arrive.
func (p *publisher) publish(subject string, payload []byte) error {
	limit := int(p.conn.MaxPayload())
	if limit <= 0 {
		limit = unknownPayload
	}
	if len(payload) <= limit {
		return p.conn.Publish(subject, payload)
	}
	if limit <= partHead {
		return nats.ErrMaxPayload
	}
	p.number++
	for offset := 0; offset < len(payload); {
		end := min(offset+limit-partHead, len(payload))
		b := append(p.appendPartHead(p.part[:0], len(payload), offset), payload[offset:end]...)
		if err := p.conn.Publish(subject, b); err != nil {
			return err
		}
		p.part, offset = b, end
	}
	if cap(p.part) > unknownPayload {
		p.part = nil // large messages are rare
	}
	return nil
}

// appendPartHead appends the header of a part of the current message.
func (p *publisher) appendPartHead(dst []byte, total, offset int) []byte {
	dst = append(append(dst, partMark), p.sender[:]...)
	dst = binary.BigEndian.AppendUint32(dst, p.number)
	dst = binary.BigEndian.AppendUint32(dst, uint32(total))
	return binary.BigEndian.AppendUint32(dst, uint32(offset))
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nats: publishing: %w", err)
}
