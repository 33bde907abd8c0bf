package transport

import "encoding/binary"

// Op is the opcode of a WebSocket frame, RFC 6455 section 5.2.
type Op byte

const (
	OpContinuation Op = 0x0
	OpText         Op = 0x1
	OpBinary       Op = 0x2
	OpClose        Op = 0x8
	OpPing         Op = 0x9
	OpPong         Op = 0xA
)

// Control reports whether op is the opcode of a control frame.
func (op Op) Control() bool { return op&0x8 != 0 }

// maxHeader is the size in bytes of the longest header of a frame that a server sends.
const maxHeader = 10

const finBit = 0x80

// headerSize is the number of bytes that AppendHeader appends for a payload of n bytes.
func headerSize(n int) int {
	switch {
	case n < 126:
		return 2
	case n < 1<<16:
		return 4
	default:
		return maxHeader
	}
}

// AppendHeader appends the header of a final, unmasked frame with a payload of n bytes.
//
// RFC 6455 section 5.2.
func AppendHeader(dst []byte, op Op, n int) []byte {
	switch headerSize(n) {
	case 2:
		return append(dst, finBit|byte(op), byte(n))
	case 4:
		return binary.BigEndian.AppendUint16(append(dst, finBit|byte(op), 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, finBit|byte(op), 127), uint64(n))
	}
}
