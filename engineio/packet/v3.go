package packet

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// ParseV3 takes a v3 text packet apart; in contrast to v4, binary is "b", the type and base64. Data
// is as with Parse.
//
// Engine.IO protocol v3, "Encoding".
func ParseV3(b []byte) (Packet, error) {
	if len(b) == 0 || b[0] != base64Mark {
		return parseText(b)
	}
	p, err := parseText(b[1:])
	if err != nil {
		return Packet{}, err
	}
	p.Binary, p.Data = true, DecodeBase64(p.Data)
	return p, nil
}

// ParseBinaryV3 takes a v3 binary packet apart, which starts with its type as a number. Data borrows from b.
func ParseBinaryV3(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, ErrEmpty
	}
	p := Packet{Type: Type(b[0]) + Open, Binary: true, Data: b[1:]}
	if b[0] > byte(Noop-Open) {
		return Packet{}, ErrType
	}
	return p, nil
}

// AppendV3 appends p as a v3 text packet; binary as "b", the type and base64.
func AppendV3(dst []byte, p Packet) []byte {
	if p.Binary {
		return base64.StdEncoding.AppendEncode(append(dst, base64Mark, byte(p.Type)), p.Data)
	}
	return append(append(dst, byte(p.Type)), p.Data...)
}

// AppendStringV3 appends p to a v3 string payload: its length in UTF-16 code units, a colon, and the
// packet; binary in base64. Data that is not binary has to be valid UTF-8.
func AppendStringV3(dst []byte, p Packet) []byte {
	var units int
	if p.Binary {
		units = 2 + base64.StdEncoding.EncodedLen(len(p.Data))
	} else {
		units = 1 + utf16Len(p.Data)
	}
	return AppendV3(append(strconv.AppendInt(dst, int64(units), 10), ':'), p)
}

// Marks of a v3 binary payload.
const (
	stringMark = 0
	binaryMark = 1
	lengthEnd  = 0xFF
)

// AppendBinaryV3 appends p to a v3 binary payload: whether it is binary, its length in bytes as one
// byte for each decimal digit, 0xFF, and the packet.
func AppendBinaryV3(dst []byte, p Packet) []byte {
	mark, first := byte(stringMark), byte(p.Type)
	if p.Binary {
		mark, first = binaryMark, byte(p.Type-Open)
	}
	dst = append(dst, mark)
	start := len(dst)
	dst = strconv.AppendInt(dst, int64(1+len(p.Data)), 10)
	for i := start; i < len(dst); i++ {
		dst[i] -= '0'
	}
	return append(append(dst, lengthEnd, first), p.Data...)
}

// StringPayloadV3 decodes a v3 string payload, packet by packet.
type StringPayloadV3 struct {
	rest []byte
	end  bool
}

// NewStringPayloadV3 returns a StringPayloadV3 with all of b, which has to be valid UTF-8.
func NewStringPayloadV3(b []byte) StringPayloadV3 { return StringPayloadV3{rest: b} }

// Next decodes the next packet; ok is false after the last one. Its Data borrows from the payload as
// with Parse. Entries of length 0 are skipped. After an error no packet follows.
func (d *StringPayloadV3) Next() (p Packet, ok bool, err error) {
	if d.end {
		return Packet{}, false, nil
	}
	if len(d.rest) == 0 {
		d.end = true
		return Packet{}, false, ErrEmpty
	}
	for len(d.rest) > 0 {
		b, rest, valid := cutEntryV3(d.rest)
		if !valid {
			d.end = true
			return Packet{}, false, ErrLength
		}
		d.rest = rest
		if len(b) == 0 {
			continue
		}
		if p, err = ParseV3(b); err != nil {
			d.end = true
			return Packet{}, false, err
		}
		d.end = len(rest) == 0
		return p, true, nil
	}
	d.end = true
	return Packet{}, false, nil
}

// cutEntryV3 cuts "<length>:<packet>" off the front of b.
func cutEntryV3(b []byte) (entry, rest []byte, ok bool) {
	digits, rest, ok := bytes.Cut(b, []byte{':'})
	if !ok || len(digits) == 0 {
		return nil, nil, false
	}
	units := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return nil, nil, false
		}
		if units = units*10 + int(c-'0'); units > len(rest) {
			return nil, nil, false
		}
	}
	n := 0
	for units > 0 {
		if n == len(rest) {
			return nil, nil, false
		}
		r, size := utf8.DecodeRune(rest[n:])
		if units--; r >= 0x10000 {
			units--
		}
		n += size
	}
	if units < 0 { // the entry ends between two halves of a surrogate pair
		return nil, nil, false
	}
	return rest[:n], rest[n:], true
}

// utf16Len is the length of b in UTF-16 code units.
func utf16Len(b []byte) int {
	n := 0
	for i := 0; i < len(b); n++ {
		switch c := b[i]; {
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(b[i:])
			if r >= 0x10000 {
				n++
			}
			i += size
		}
	}
	return n
}

// maxLengthDigits is the number of digits at which the reference treats a length as infinite.
const maxLengthDigits = 310

// BinaryPayloadV3 decodes a v3 binary payload, packet by packet.
type BinaryPayloadV3 struct{ rest []byte }

// NewBinaryPayloadV3 returns a BinaryPayloadV3 that decodes b.
func NewBinaryPayloadV3(b []byte) BinaryPayloadV3 { return BinaryPayloadV3{rest: b} }

// Next decodes the next packet; ok is false after the last one. Its Data borrows from the payload as
// with Parse. After an error no packet follows.
func (d *BinaryPayloadV3) Next() (p Packet, ok bool, err error) {
	if len(d.rest) == 0 {
		return Packet{}, false, nil
	}
	b := d.rest
	d.rest = nil
	end := bytes.IndexByte(b[1:], lengthEnd)
	if end < 0 || end > maxLengthDigits {
		return Packet{}, false, ErrLength
	}
	data := b[1+end+1:]
	n := 0
	for _, digit := range b[1 : 1+end] {
		if digit > 9 {
			return Packet{}, false, ErrLength
		}
		if n = n*10 + int(digit); n > len(data) {
			return Packet{}, false, ErrLength
		}
	}
	if b[0] == stringMark {
		p, err = ParseV3(Sanitize(data[:n:n]))
	} else {
		p, err = ParseBinaryV3(data[:n:n])
	}
	if err != nil {
		return Packet{}, false, err
	}
	d.rest = data[n:]
	return p, true, nil
}
