// Package packet translates between Engine.IO packets and bytes: single packets, and the payloads
// that carry several of them over HTTP long-polling, for protocol v4 and v3.
//
// It does no I/O and keeps no state. Decoders never panic and allocate in proportion to their input.
package packet

import (
	"encoding/base64"
	"errors"
	"fmt"
)

// Type is the type of an Engine.IO packet: the digit that a text packet starts with.
//
// Engine.IO protocol v4, "Protocol".
type Type byte

const (
	Open    Type = '0'
	Close   Type = '1'
	Ping    Type = '2'
	Pong    Type = '3'
	Message Type = '4'
	Upgrade Type = '5'
	Noop    Type = '6'
)

// names as the reference's packet events show them.
var names = [...]string{"open", "close", "ping", "pong", "message", "upgrade", "noop"}

// Valid reports whether t is one of the seven types.
func (t Type) Valid() bool { return t >= Open && t <= Noop }

// String returns the name of the type, "message" for instance.
func (t Type) String() string {
	if !t.Valid() {
		return fmt.Sprintf("Type(%d)", byte(t))
	}
	return names[t-Open]
}

// Text returns the text packet of this type without data.
func (t Type) Text() string {
	const digits = "0123456"
	i := t - Open
	return digits[i : i+1]
}

// Packet is one Engine.IO packet.
type Packet struct {
	Type   Type
	Binary bool   // only with Type Message
	Data   []byte // without the type; nil if a text packet has none, never nil if Binary
}

var (
	// ErrEmpty is returned for a packet without a type, and for a payload without a packet.
	ErrEmpty = errors.New("packet: empty packet")
	// ErrType is returned for a packet whose type does not exist.
	ErrType = errors.New("packet: unknown packet type")
	// ErrLength is returned for a v3 payload whose lengths do not fit its content.
	ErrLength = errors.New("packet: invalid length in payload")
)

// base64Mark starts a text packet that carries binary.
const base64Mark = 'b'

// Parse takes a v4 text packet apart. Data borrows from b, except that binary in base64 is decoded
// into new memory. It returns ErrEmpty or ErrType.
//
// Engine.IO protocol v4, "Packet encoding".
func Parse(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, ErrEmpty
	}
	if b[0] == base64Mark {
		return Packet{Type: Message, Binary: true, Data: DecodeBase64(b[1:])}, nil
	}
	return parseText(b)
}

func parseText(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, ErrEmpty
	}
	p := Packet{Type: Type(b[0])}
	if !p.Type.Valid() {
		return Packet{}, ErrType
	}
	if len(b) > 1 {
		p.Data = b[1:]
	}
	return p, nil
}

// Append appends p as a v4 text packet; binary as "b" and base64.
func Append(dst []byte, p Packet) []byte {
	if p.Binary {
		return base64.StdEncoding.AppendEncode(append(dst, base64Mark), p.Data)
	}
	return append(append(dst, byte(p.Type)), p.Data...)
}

// sixBits maps a byte to its value in the standard or the URL-safe alphabet of base64, or to foreign.
var sixBits = func() (table [256]byte) {
	for i := range table {
		table[i] = foreign
	}
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range len(digits) {
		table[digits[i]] = byte(i)
	}
	table['+'], table['-'] = 62, 62
	table['/'], table['_'] = 63, 63
	return table
}()

const foreign = 0xFF

// DecodeBase64 decodes base64 as leniently as the reference: either alphabet, with or without
// padding, which ends the text; characters of neither alphabet are skipped, and so are bits that do
// not fill a byte. It never returns nil.
func DecodeBase64(b []byte) []byte {
	out := make([]byte, 0, len(b)*3/4)
	var bits uint
	n := 0
	for _, c := range b {
		v := sixBits[c]
		if v == foreign {
			if c == '=' {
				break
			}
			continue
		}
		bits = bits<<6 | uint(v)
		if n += 6; n >= 8 {
			n -= 8
			out = append(out, byte(bits>>n))
		}
	}
	return out
}
