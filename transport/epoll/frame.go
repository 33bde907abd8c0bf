package epoll

import (
	"encoding/binary"

	"github.com/myriad-rt/myriad/transport"
)

// maxHead is the size in bytes of the longest header of a client's frame.
const maxHead = 14

// maxControl is the largest payload of a control frame in bytes, RFC 6455 section 5.5.
const maxControl = 125

// Bits of the first two bytes of a frame, RFC 6455 section 5.2.
const (
	finBit  = 0x80
	rsvBits = 0x70
	rsv1Bit = 0x40 // the message is compressed, RFC 7692 section 6
	opBits  = 0x0F
	maskBit = 0x80
	lenBits = 0x7F
)

// Protocol violations that end a connection. The values are shared and must not be changed.
var (
	errReserved      = violation(transport.CloseProtocolError, "reserved bit is set")
	errOpcode        = violation(transport.CloseProtocolError, "unknown opcode")
	errUnmasked      = violation(transport.CloseProtocolError, "frame is not masked")
	errControl       = violation(transport.CloseProtocolError, "control frame is fragmented or longer than 125 bytes")
	errContinuation  = violation(transport.CloseProtocolError, "continuation without a message to continue")
	errInterleaved   = violation(transport.CloseProtocolError, "new message inside a fragmented one")
	errCloseCode     = violation(transport.CloseProtocolError, "close frame with an invalid code")
	errCloseReason   = violation(transport.CloseInvalidData, "close reason is not UTF-8")
	errText          = violation(transport.CloseInvalidData, "text is not UTF-8")
	errTooBig        = violation(transport.CloseTooBig, "message is too big")
	errDeflate       = violation(transport.CloseInvalidData, "compressed data is invalid")
	errTooFragmented = violation(transport.ClosePolicy, "message has too many fragments")
)

func violation(code int, reason string) *transport.ProtocolError {
	return &transport.ProtocolError{Code: code, Reason: reason}
}

// header is the header of a client's frame.
type header struct {
	fin        bool
	compressed bool
	op         transport.Op
	mask       [4]byte
	length     int64
}

// parseHeader parses the header at the start of b. size is its length in bytes, or 0 if b does not hold all of it.
// A violation is reported as soon as b shows it. continued means that a fragmented message is incomplete, and
// deflate that messages may be compressed. limit is the maximum payload of a data frame in bytes.
func parseHeader(b []byte, continued, deflate bool, limit int64) (h header, size int, err *transport.ProtocolError) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.fin = b[0]&finBit != 0
	h.op = transport.Op(b[0] & opBits)
	h.compressed = b[0]&rsvBits == rsv1Bit
	if h.compressed && (!deflate || h.op == transport.OpContinuation || h.op.Control()) || b[0]&(rsvBits&^rsv1Bit) != 0 {
		return h, 0, errReserved
	}
	switch h.op {
	case transport.OpText, transport.OpBinary:
		if continued {
			return h, 0, errInterleaved
		}
	case transport.OpContinuation:
		if !continued {
			return h, 0, errContinuation
		}
	case transport.OpClose, transport.OpPing, transport.OpPong:
		if !h.fin || b[1]&lenBits > maxControl {
			return h, 0, errControl
		}
		limit = maxControl
	default:
		return h, 0, errOpcode
	}
	if b[1]&maskBit == 0 {
		return h, 0, errUnmasked
	}
	size = 2
	switch n := b[1] & lenBits; n {
	case 126:
		if size += 2; len(b) < size {
			return h, 0, nil
		}
		h.length = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if size += 8; len(b) < size {
			return h, 0, nil
		}
		if h.length = int64(binary.BigEndian.Uint64(b[2:])); h.length < 0 {
			return h, 0, errTooBig
		}
	default:
		h.length = int64(n)
	}
	if h.length > limit {
		return h, 0, errTooBig
	}
	if len(b) < size+4 {
		return h, 0, nil
	}
	copy(h.mask[:], b[size:])
	return h, size + 4, nil
}

// validCloseCode reports whether a peer may send code in a close frame.
//
// RFC 6455 section 7.4 and the codes registered since.
func validCloseCode(code int) bool {
	switch code {
	case 1004, 1005, 1006:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}
