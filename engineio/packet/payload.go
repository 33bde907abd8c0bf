package packet

import "bytes"

// Separator stands between the packets of a v4 payload.
const Separator = 0x1E

// AppendNext appends p to the v4 payload dst, whose packets begin at index start.
//
// Engine.IO protocol v4, "HTTP long-polling".
func AppendNext(dst []byte, start int, p Packet) []byte {
	if len(dst) > start {
		dst = append(dst, Separator)
	}
	return Append(dst, p)
}

// Payload decodes a v4 payload, packet by packet.
type Payload struct {
	rest []byte
	end  bool
}

// NewPayload returns a Payload that decodes b.
func NewPayload(b []byte) Payload { return Payload{rest: b} }

// Next decodes the next packet; ok is false after the last one. Its Data borrows from the payload as
// with Parse. After an error no packet follows. A payload has at least one packet: where nothing
// stands before, between or after separators, Next returns ErrEmpty.
func (d *Payload) Next() (p Packet, ok bool, err error) {
	if d.end {
		return Packet{}, false, nil
	}
	b, rest, more := bytes.Cut(d.rest, []byte{Separator})
	d.rest, d.end = rest, !more
	if p, err = Parse(b); err != nil {
		d.end = true
		return Packet{}, false, err
	}
	return p, true, nil
}
