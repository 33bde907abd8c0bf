package parser

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Most functions of this file work on text that checkJSON has accepted and do not look for errors.

// What a byte can be inside a string.
const (
	charPlain   = iota
	charQuote   // ends the string
	charEscape  // a backslash
	charControl // must not stand in a string
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

// skipPlain returns the index of the first byte from i on that is not an ordinary ASCII character
// of a string, or len(b).
func skipPlain(b []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	// The words of a long text are looked at together, and one by one when one of them has something.
	for i+32 <= len(b) {
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
		i += 32
	}
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		quote := w ^ '"'*ones
		escape := w ^ '\\'*ones
		// The lowest bit that is set is exact. Higher ones may come from a borrow or from a high byte.
		if m := (w | (w - ' '*ones) | (quote - ones) | (escape - ones)) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
		i += 8
	}
	for i < len(b) && charClass[b[i]] == charPlain {
		i++
	}
	return i
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// checkJSON checks that one JSON value, with white space before it, starts at b[i] and that it is
// nested no deeper than maxDepth. It returns the index behind the value, or of the error. high says
// that there are bytes in it that are not ASCII; whether these are valid UTF-8 is not checked. It
// does not recurse, and does not allocate for less than 64 levels.
//
// RFC 8259.
func checkJSON(b []byte, i, maxDepth int) (end int, high, ok bool) {
	var (
		depth  int
		levels uint64   // the innermost 64 levels, one bit each: 1 for an object; the lowest bit is the innermost
		outer  []uint64 // the levels around them
		h      bool
	)
value:
	i = skipSpace(b, i)
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
		i = skipSpace(b, i+1)
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
	case 't':
		if !hasPrefixAt(b, i, "true") {
			return i, high, false
		}
		i += 4
	case 'f':
		if !hasPrefixAt(b, i, "false") {
			return i, high, false
		}
		i += 5
	case 'n':
		if !hasPrefixAt(b, i, "null") {
			return i, high, false
		}
		i += 4
	default:
		if i, ok = checkNumber(b, i); !ok {
			return i, high, false
		}
	}
next:
	if depth == 0 {
		return i, high, true
	}
	i = skipSpace(b, i)
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
		i = skipSpace(b, i+1)
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
	i = skipSpace(b, i)
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

func hasPrefixAt(b []byte, i int, s string) bool {
	return len(b)-i >= len(s) && string(b[i:i+len(s)]) == s
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

// skipString returns the index behind the string whose opening quote is b[i].
func skipString(b []byte, i int) int {
	for i++; ; i++ {
		i += bytes.IndexByte(b[i:], '"')
		start := i
		for b[start-1] == '\\' {
			start--
		}
		if (i-start)%2 == 0 { // it is not escaped
			return i + 1
		}
	}
}

// skipValue returns the index behind the value that starts at b[i].
func skipValue(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\n', '\r', '\t':
			i++
			continue // never the end of a value
		default:
			i = skipScalar(b, i)
		}
		if depth == 0 {
			return i
		}
	}
}

// skipScalar returns the index behind the number or literal that starts at b[i].
func skipScalar(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case ',', ']', '}', ':', ' ', '\n', '\r', '\t':
			return i
		}
	}
	return i
}

// hasEscape reports whether the content of a string, without its quotes, differs from what it means.
func hasEscape(content []byte) bool { return bytes.IndexByte(content, '\\') >= 0 }

// appendUnescaped appends what the content of a string means. Half of a surrogate pair on its own,
// which JavaScript allows in a string and UTF-8 does not, becomes U+FFFD.
func appendUnescaped(dst, content []byte) []byte {
	for i := 0; i < len(content); {
		start := i
		for i < len(content) && content[i] != '\\' {
			i++
		}
		dst = append(dst, content[start:i]...)
		if i == len(content) {
			break
		}
		c := content[i+1]
		i += 2
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(content, i)
			i += 4
			if utf16.IsSurrogate(r) {
				var low rune
				if hasPrefixAt(content, i, `\u`) {
					low, _ = hex4(content, i+2)
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
	return dst
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

const hexDigits = "0123456789abcdef"

// appendString appends s as JavaScript writes it: only what must be escaped is. Bytes that are not
// valid UTF-8 become U+FFFD each.
func appendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	text := len(dst)
	dst = append(dst, s...)
	i := skipPlain(dst, text) - text
	dst = dst[:text+i]
	start := i
	for i < len(s) {
		c := s[i]
		switch charClass[c] {
		case charPlain:
			i++
		case charHigh:
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
		default:
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\b':
				dst = append(dst, `\b`...)
			case '\f':
				dst = append(dst, `\f`...)
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			case '\t':
				dst = append(dst, `\t`...)
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
			}
			i++
			start = i
		}
	}
	return append(append(dst, s[start:]...), '"')
}

// appendFloat appends f as JavaScript writes it. bitSize is that of the type f comes from. f is finite.
//
// ECMAScript, Number::toString.
func appendFloat(dst []byte, f float64, bitSize int) []byte {
	if f == 0 {
		return append(dst, '0') // also for -0
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, bitSize)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, bitSize)
	if n := len(dst); n-start >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' { // e-09 becomes e-9
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// validUTF8 returns b itself or, if it is not valid UTF-8, a copy with U+FFFD for each run of wrong bytes.
func validUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD"))
}
