package jsontext

import (
	"math"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a string. Each byte of invalid UTF-8 becomes U+FFFD.
func AppendString[S string | []byte](dst []byte, s S) []byte {
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
			dst = appendRune(append(dst, s[start:i]...), rune(c))
			i++
			start = i
		}
	}
	return append(append(dst, s[start:]...), '"')
}

// appendRune appends a character of a string, escaped if necessary. A lone surrogate is always escaped.
func appendRune(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	if r >= ' ' && !utf16.IsSurrogate(r) {
		return utf8.AppendRune(dst, r)
	}
	return append(dst, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&0xF], hexDigits[r>>4&0xF], hexDigits[r&0xF])
}

// AppendStrings appends list as an array of strings.
func AppendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, s)
	}
	return append(dst, ']')
}

// AppendFloat appends f, which must be finite. bitSize is the size of the original type, 32 or 64.
//
// ECMAScript, Number::toString.
func AppendFloat(dst []byte, f float64, bitSize int) []byte {
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

// maxDate is the last instant of a JavaScript date, in seconds since 1970. The first is as long before 1970.
const maxDate = 864e10

// AppendTime appends t as a date: in UTC, with milliseconds. It appends null if t is outside the range of
// JavaScript dates.
//
// ECMAScript, Date.prototype.toISOString.
func AppendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	if s := t.Unix(); s < -maxDate || s > maxDate || s == maxDate && t.Nanosecond() >= 1e6 {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	year, digits := t.Year(), 4
	switch {
	case year < 0:
		dst = append(dst, '-')
		year, digits = -year, 6
	case year > 9999:
		dst = append(dst, '+')
		digits = 6
	}
	text := strconv.Itoa(year)
	dst = append(append(dst, "000000"[:digits-len(text)]...), text...)
	return t.AppendFormat(dst, `-01-02T15:04:05.000Z"`)
}
