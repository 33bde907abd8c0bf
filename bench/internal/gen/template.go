//go:build linux

package gen

import "encoding/binary"

// maskKey is the key of all frames. RFC 6455 requires an unpredictable key to protect proxies, of which there are none
// here. With a fixed key a frame can be built once and changed in place.
var maskKey = [4]byte{0x37, 0xFA, 0x21, 0x3D}

// AppendFrame appends a masked frame with this payload.
func AppendFrame(dst, payload []byte, isBinary bool) []byte {
	op := byte(0x81)
	if isBinary {
		op = 0x82
	}
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, op, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, op, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, op, 0x80|127), uint64(n))
	}
	dst = append(dst, maskKey[:]...)
	for i, b := range payload {
		dst = append(dst, b^maskKey[i&3])
	}
	return dst
}

// Template is a masked frame in which fields of fixed width can be changed.
type Template struct {
	frame []byte
	head  int // length of the header in bytes
}

// NewTemplate returns the frame for payload.
func NewTemplate(payload []byte, isBinary bool) *Template {
	frame := AppendFrame(nil, payload, isBinary)
	return &Template{frame, len(frame) - len(payload)}
}

// Bytes returns the frame, which changes with the next call of Digits or Uint32.
func (t *Template) Bytes() []byte { return t.frame }

// Digits writes v in decimal, with leading zeros, to the width bytes of the payload from offset on.
func (t *Template) Digits(offset, width int, v uint32) {
	for i := offset + width - 1; i >= offset; i-- {
		t.frame[t.head+i] = byte('0'+v%10) ^ maskKey[i&3]
		v /= 10
	}
}

// Uint32 writes v in big-endian order to the payload at offset.
func (t *Template) Uint32(offset int, v uint32) {
	for i := range 4 {
		t.frame[t.head+offset+i] = byte(v>>(24-8*i)) ^ maskKey[(offset+i)&3]
	}
}

// Digits writes v in decimal, with leading zeros, to the width bytes of b from offset on.
func Digits(b []byte, offset, width int, v uint32) {
	for i := offset + width - 1; i >= offset; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}
