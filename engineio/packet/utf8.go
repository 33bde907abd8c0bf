package packet

import "unicode/utf8"

// Sanitize returns b if it is valid UTF-8, otherwise a copy in which U+FFFD stands for each maximal
// part of an ill-formed sequence, as the decoders of browsers and of Node.js do it.
//
// Unicode 15, section 3.9, "U+FFFD Substitution of Maximal Subparts".
func Sanitize(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	out := make([]byte, 0, len(b)+len(b)/8)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			size = maximalSubpart(b)
		}
		out = utf8.AppendRune(out, r)
		b = b[size:]
	}
	return out
}

// maximalSubpart is the length of the longest prefix of the ill-formed b that begins a well-formed
// sequence, or 1.
func maximalSubpart(b []byte) int {
	low, high, length := byte(0x80), byte(0xBF), 1
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		length = 2
	case c >= 0xE0 && c <= 0xEF:
		length = 3
		if c == 0xE0 {
			low = 0xA0
		} else if c == 0xED {
			high = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		length = 4
		if c == 0xF0 {
			low = 0x90
		} else if c == 0xF4 {
			high = 0x8F
		}
	}
	n := 1
	for n < length && n < len(b) && b[n] >= low && b[n] <= high {
		low, high = 0x80, 0xBF
		n++
	}
	return n
}
