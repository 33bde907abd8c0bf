// Package form decodes query strings and form-encoded bodies as browsers and Node.js do: there are no errors, and
// invalid escapes are kept as they are.
//
// It imports engineio/packet, which replaces invalid UTF-8. Packages engineio and transport/polling import it.
package form

import (
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/myriad-rt/myriad/engineio/packet"
)

// Pairs iterates over the names and values of encoded, in order and without decoding them. A missing value is "".
func Pairs(encoded string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for encoded != "" {
			var pair string
			pair, encoded, _ = strings.Cut(encoded, "&")
			if name, value, _ := strings.Cut(pair, "="); pair != "" && !yield(name, value) {
				return
			}
		}
	}
}

// Value returns the last value of name, decoded.
func Value(encoded, name string) (value string, ok bool) {
	for n, v := range Pairs(encoded) {
		if n == name || strings.ContainsAny(n, "%+") && Decode(n) == name {
			value, ok = v, true
		}
	}
	return Decode(value), ok
}

// Decode decodes one name or value: "+" becomes a space, and "%" with two hexadecimal digits a byte. Invalid UTF-8
// becomes U+FFFD.
func Decode(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return sanitize(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b.WriteByte(' ')
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			b.WriteByte(byte(unhex(s[i+1])<<4 | unhex(s[i+2])))
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return sanitize(b.String())
}

func sanitize(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string(packet.Sanitize([]byte(s)))
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
