package jsontext

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// HasPrefixAt reports whether b[i:] starts with s.
func HasPrefixAt(b []byte, i int, s string) bool {
	return len(b)-i >= len(s) && string(b[i:i+len(s)]) == s
}

// SkipSpace returns the index of the first byte at or after i that is not white space, or len(b).
func SkipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// Skip returns the index after the value that starts at b[i].
func Skip(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = SkipString(b, i)
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
			i = SkipScalar(b, i)
		}
		if depth == 0 {
			return i
		}
	}
}

// SkipString returns the index after the string whose opening quote is b[i].
func SkipString(b []byte, i int) int {
	for i++; ; i++ {
		i += bytes.IndexByte(b[i:], '"')
		start := i
		for b[start-1] == '\\' {
			start--
		}
		if (i-start)%2 == 0 { // not escaped
			return i + 1
		}
	}
}

// ScanString is SkipString. It also reports whether the string has escapes.
func ScanString(b []byte, i int) (end int, escaped bool) {
	plain := skipPlain(b, i+1)
	if b[plain] == '"' {
		return plain + 1, false
	}
	end = SkipString(b, i)
	return end, bytes.IndexByte(b[plain:end], '\\') >= 0
}

// SkipScalar returns the index after the number or literal that starts at b[i].
func SkipScalar(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case ',', ']', '}', ':', ' ', '\n', '\r', '\t':
			return i
		}
	}
	return i
}

// Next returns the index of the next element of an array or object, or of its closing bracket. b[i] follows the
// opening bracket or an element.
func Next(b []byte, i int) int {
	if i = SkipSpace(b, i); b[i] == ',' {
		i = SkipSpace(b, i+1)
	}
	return i
}

// ReadString returns the content of the string whose opening quote is b[i], and the index after the string. content
// is a part of b, or newly allocated if the string has escapes. A lone surrogate, which is valid in JavaScript
// strings but not in UTF-8, becomes U+FFFD.
func ReadString(b []byte, i int) (content []byte, end int) {
	end, escaped := ScanString(b, i)
	content = b[i+1 : end-1 : end-1]
	if escaped {
		content = AppendContent(nil, content)
	}
	return content, end
}

// AppendContent appends the decoded content of a string, given without its quotes. See [ReadString].
func AppendContent(dst, content []byte) []byte { return appendUnescaped(dst, content, utf8.AppendRune) }

// AppendNormal appends a string with this content as JSON.stringify(JSON.parse(s)) would write it. A lone surrogate
// remains an escape.
func AppendNormal(dst, content []byte) []byte {
	return append(appendUnescaped(append(dst, '"'), content, appendRune), '"')
}

// appendUnescaped appends content. write appends the character of each escape.
func appendUnescaped(dst, content []byte, write func([]byte, rune) []byte) []byte {
	for {
		i := bytes.IndexByte(content, '\\')
		if i < 0 {
			return append(dst, content...)
		}
		r, end := unescape(content, i)
		dst = write(append(dst, content[:i]...), r)
		content = content[end:]
	}
}

// unescape decodes the escape at b[i] and returns the index after it. r is a surrogate if the other half of its
// pair is missing.
func unescape(b []byte, i int) (r rune, end int) {
	r = rune(b[i+1])
	switch r {
	case 'b':
		r = '\b'
	case 'f':
		r = '\f'
	case 'n':
		r = '\n'
	case 'r':
		r = '\r'
	case 't':
		r = '\t'
	case 'u':
		r, _ = hex4(b, i+2)
		if utf16.IsSurrogate(r) && HasPrefixAt(b, i+6, `\u`) {
			low, _ := hex4(b, i+8)
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, i + 12
			}
		}
		return r, i + 6
	}
	return r, i + 2
}

// maxExactDigits is the number of digits up to which a JavaScript number represents every integer exactly and
// prints every decimal as it was written.
const maxExactDigits = 15

// Number returns a number as String prints it in JavaScript: a part of text if it is already in that form,
// otherwise newly allocated. A number that is too large is "Infinity" or "-Infinity".
func Number(text []byte) []byte {
	if printed(text) {
		return text
	}
	f, _ := strconv.ParseFloat(string(text), 64)
	switch {
	case math.IsInf(f, 1):
		return []byte("Infinity")
	case math.IsInf(f, -1):
		return []byte("-Infinity")
	}
	return AppendFloat(nil, f, 64)
}

// printed reports whether JavaScript certainly prints a number as text.
func printed(text []byte) bool {
	if text[0] == '-' {
		text = text[1:]
		if text[0] == '0' && len(text) == 1 {
			return false
		}
	}
	if len(text) > maxExactDigits {
		return false
	}
	end, _ := checkDigits(text, 0)
	if end == len(text) {
		return true
	}
	last := text[len(text)-1]
	all, _ := checkDigits(text, end+1)
	// A small fraction may be printed with an exponent.
	return text[end] == '.' && all == len(text) && last != '0' && !HasPrefixAt(text, 0, "0.00000")
}
