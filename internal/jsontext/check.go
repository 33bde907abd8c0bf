package jsontext

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Classes of bytes inside a string.
const (
	charPlain   = iota
	charQuote   // ends the string
	charEscape  // a backslash
	charControl // not allowed in a string
	charHigh    // part of a multi-byte character
)

var charClass = func() (t [256]uint8) {
	for i := range t {
		switch {
		case i < ' ':
			t[i] = charControl
		case i >= utf8.RuneSelf:
			t[i] = charHigh
		}
	}
	t['"'] = charQuote
	t['\\'] = charEscape
	return t
}()

// skipPlain returns the index of the first byte at or after i that is not an ordinary ASCII character of a string,
// or len(b).
func skipPlain(b []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for n := 0; i+8 <= len(b); n++ {
		w := binary.LittleEndian.Uint64(b[i:])
		// Only the lowest set bit is exact. Higher bits may come from a borrow or a high byte.
		if m := (w | (w - ' '*ones) | (w ^ '"'*ones - ones) | (w ^ '\\'*ones - ones)) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
		i += 8
		if n != 2 {
			continue
		}
		// This string is long, unlike most. It is scanned four words at a time.
		for ; i+32 <= len(b); i += 32 {
			four := (*[32]byte)(b[i:])
			w, x := binary.LittleEndian.Uint64(four[:8]), binary.LittleEndian.Uint64(four[8:16])
			y, z := binary.LittleEndian.Uint64(four[16:24]), binary.LittleEndian.Uint64(four[24:])
			m := w | (w - ' '*ones) | (w ^ '"'*ones - ones) | (w ^ '\\'*ones - ones) |
				x | (x - ' '*ones) | (x ^ '"'*ones - ones) | (x ^ '\\'*ones - ones) |
				y | (y - ' '*ones) | (y ^ '"'*ones - ones) | (y ^ '\\'*ones - ones) |
				z | (z - ' '*ones) | (z ^ '"'*ones - ones) | (z ^ '\\'*ones - ones)
			if m&highs != 0 {
				break
			}
		}
	}
	for i < len(b) && charClass[b[i]] == charPlain {
		i++
	}
	return i
}

// Check checks that b[i:] starts with one JSON value, after optional white space, nested no deeper than maxDepth.
// It returns the index after the value, or of the error. high reports whether the value contains non-ASCII bytes;
// Check does not verify that these are valid UTF-8. It does not recurse, and does not allocate for fewer than 64
// levels.
//
// RFC 8259.
func Check(b []byte, i, maxDepth int) (end int, high, ok bool) {
	var (
		depth  int
		levels uint64   // the innermost 64 levels, one bit each, innermost lowest: 1 for an object
		outer  []uint64 // the levels around them
		h      bool
	)
value:
	i = SkipSpace(b, i)
	if i == len(b) {
		return i, high, false
	}
	switch c := b[i]; c {
	case '{', '[':
		if depth == maxDepth {
			return i, high, false
		}
		if depth > 0 && depth%64 == 0 {
			outer = append(outer, levels)
		}
		depth++
		levels <<= 1
		i = SkipSpace(b, i+1)
		if i == len(b) {
			return i, high, false
		}
		if c == '[' {
			if b[i] == ']' {
				goto closed
			}
			goto value
		}
		levels |= 1
		if b[i] == '}' {
			goto closed
		}
		goto key
	case '"':
		if i, h, ok = checkString(b, i); !ok {
			return i, high, false
		}
		high = high || h
	case 't', 'f', 'n':
		literal := "true"
		switch c {
		case 'f':
			literal = "false"
		case 'n':
			literal = "null"
		}
		if !HasPrefixAt(b, i, literal) {
			return i, high, false
		}
		i += len(literal)
	default:
		if i, ok = checkNumber(b, i); !ok {
			return i, high, false
		}
	}
next:
	if depth == 0 {
		return i, high, true
	}
	i = SkipSpace(b, i)
	if i == len(b) {
		return i, high, false
	}
	if levels&1 == 0 {
		switch b[i] {
		case ',':
			i++
			goto value
		case ']':
			goto closed
		}
		return i, high, false
	}
	switch b[i] {
	case ',':
		i = SkipSpace(b, i+1)
		goto key
	case '}':
		goto closed
	}
	return i, high, false
key:
	if i == len(b) || b[i] != '"' {
		return i, high, false
	}
	if i, h, ok = checkString(b, i); !ok {
		return i, high, false
	}
	high = high || h
	i = SkipSpace(b, i)
	if i == len(b) || b[i] != ':' {
		return i, high, false
	}
	i++
	goto value
closed:
	i++
	depth--
	levels >>= 1
	if depth > 0 && depth%64 == 0 {
		levels = outer[len(outer)-1]
		outer = outer[:len(outer)-1]
	}
	goto next
}

// checkString checks the string whose opening quote is b[i].
func checkString(b []byte, i int) (end int, high, ok bool) {
	i++
	for {
		i = skipPlain(b, i)
		if i == len(b) {
			return i, high, false
		}
		switch charClass[b[i]] {
		case charQuote:
			return i + 1, high, true
		case charHigh:
			high = true
			for i++; i < len(b) && b[i] >= utf8.RuneSelf; i++ {
			}
		case charEscape:
			if i+1 == len(b) {
				return i, high, false
			}
			switch b[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if _, ok := hex4(b, i+2); !ok {
					return i, high, false
				}
				i += 6
			default:
				return i, high, false
			}
		default:
			return i, high, false
		}
	}
}

func checkNumber(b []byte, i int) (end int, ok bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i == len(b):
		return i, false
	case b[i] == '0':
		i++
	default:
		if i, ok = checkDigits(b, i); !ok {
			return i, false
		}
	}
	if i < len(b) && b[i] == '.' {
		if i, ok = checkDigits(b, i+1); !ok {
			return i, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i, ok = checkDigits(b, i); !ok {
			return i, false
		}
	}
	return i, true
}

// checkDigits checks that there is at least one digit at b[i].
func checkDigits(b []byte, i int) (end int, ok bool) {
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i, i > start
}

// hex4 reads the four hexadecimal digits at b[i].
func hex4(b []byte, i int) (r rune, ok bool) {
	if len(b)-i < 4 {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		r <<= 4
		switch {
		case c-'0' <= 9:
			r |= rune(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r |= rune(c|0x20-'a') + 10
		default:
			return 0, false
		}
	}
	return r, true
}
