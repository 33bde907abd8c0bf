package polling

import (
	"strings"
	"unicode/utf8"

	"github.com/myriad-rt/myriad/engineio/packet"
)

// FormValue returns the last value of key in a query string or a form-encoded body. It decodes as browsers and
// Node.js do: there are no errors, and invalid escapes are kept as they are.
func FormValue(encoded, key string) (value string, ok bool) {
	for encoded != "" {
		var pair string
		pair, encoded, _ = strings.Cut(encoded, "&")
		k, v, _ := strings.Cut(pair, "=")
		if pair != "" && (k == key || strings.ContainsAny(k, "%+") && DecodeForm(k) == key) {
			value, ok = v, true
		}
	}
	return DecodeForm(value), ok
}

// DecodeForm decodes one form-encoded name or value: "+" becomes a space, and "%" with two hexadecimal digits a
// byte. Invalid UTF-8 becomes U+FFFD.
func DecodeForm(s string) string {
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
