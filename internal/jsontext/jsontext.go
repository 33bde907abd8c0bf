// Package jsontext reads JSON without decoding what is not asked for, and writes strings as JavaScript does.
//
// What it reads must be valid: parser.Valid says whether it is. Values that it returns are parts of the text.
package jsontext

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Reader visits the elements of an object or array.
type Reader struct {
	text []byte
	at   int
}

// Read returns a reader for an object or array that starts with open. ok is false if text is none.
func Read(text []byte, open byte) (r Reader, ok bool) {
	if len(text) == 0 || text[0] != open {
		return r, false
	}
	return Reader{text: text, at: 1}, true
}

// Element returns the next element of an array.
func (r *Reader) Element() (value []byte, ok bool) {
	if !r.more() {
		return nil, false
	}
	start := r.at
	r.at = Skip(r.text, start)
	return r.text[start:r.at:r.at], true
}

// Member returns the next member of an object.
func (r *Reader) Member() (key, value []byte, ok bool) {
	name, ok := r.Element()
	if !ok {
		return nil, nil, false
	}
	if key = name[1 : len(name)-1]; bytes.IndexByte(key, '\\') >= 0 {
		s, _ := String(name)
		key = []byte(s)
	}
	r.space()
	r.at++ // the colon
	r.space()
	start := r.at
	r.at = Skip(r.text, start)
	return key, r.text[start:r.at:r.at], true
}

// more goes to the next element and reports whether there is one.
func (r *Reader) more() bool {
	r.space()
	if r.text[r.at] == ',' {
		r.at++
		r.space()
	}
	return r.text[r.at] != ']' && r.text[r.at] != '}'
}

func (r *Reader) space() {
	for isSpace(r.text[r.at]) {
		r.at++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// Skip returns the index behind the value at text[i].
func Skip(text []byte, i int) int {
	depth := 0
	for {
		switch c := text[i]; c {
		case '"':
			i = skipString(text, i)
		case '[', '{':
			depth++
			i++
		case ']', '}':
			depth--
			i++
		case ',', ':', ' ', '\n', '\t', '\r':
			i++
			continue
		default:
			for i < len(text) && !isSpace(text[i]) && text[i] != ',' && text[i] != ']' && text[i] != '}' {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// skipString returns the index behind the string at text[i].
func skipString(text []byte, i int) int {
	i++
	for end := i; ; end = i {
		end += bytes.IndexByte(text[end:], '"')
		for i <= end {
			escape := bytes.IndexByte(text[i:end], '\\')
			if escape < 0 {
				return end + 1
			}
			i += escape + 2
		} // what is escaped last is the quote
	}
}

// String returns the string that text is.
func String(text []byte) (s string, ok bool) {
	if len(text) < 2 || text[0] != '"' {
		return "", false
	}
	content := text[1 : len(text)-1]
	if bytes.IndexByte(content, '\\') >= 0 {
		err := json.Unmarshal(text, &s)
		return s, err == nil
	}
	return string(content), true
}

// Name returns a string, or a number as the string that JavaScript makes of it: rooms may be numbers there.
func Name(text []byte) (s string, ok bool) {
	if s, ok = String(text); ok {
		return s, true
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return "", false
	}
	return strconv.FormatFloat(f, 'f', -1, 64), true
}

// Names returns an array of names. A value that is missing, or null, is an empty one.
func Names(text []byte) (names []string, ok bool) {
	if len(text) == 0 || string(text) == "null" {
		return nil, true
	}
	r, ok := Read(text, '[')
	if !ok {
		return nil, false
	}
	for {
		element, more := r.Element()
		if !more {
			return names, true
		}
		name, ok := Name(element)
		if !ok {
			return nil, false
		}
		names = append(names, name)
	}
}

// Count returns a number that counts something. ok is false if it cannot.
func Count(text []byte) (n int, ok bool) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f >= 0 && f <= 1<<31-1) || f != float64(int(f)) {
		return 0, false
	}
	return int(f), true
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as JSON.stringify writes it. Invalid UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\b':
			dst = append(dst, `\b`...)
		case c == '\f':
			dst = append(dst, `\f`...)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0x0f])
		default:
			dst = append(dst, "\uFFFD"...)
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// AppendStrings appends an array.
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
