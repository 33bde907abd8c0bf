package parser

import (
	"bytes"
	"strconv"
)

// A placeholder is an object that stands in the payload for an attachment. Inside a server it has
// one spelling only, see Packet.Data. Its text cannot be part of a string, where the quotes would
// be escaped, so placeholders are found without parsing what is around them.
const (
	placeholderHead = `{"_placeholder":true,"num":`
	placeholderTail = '}'
)

func appendPlaceholder(dst []byte, num int) []byte {
	dst = append(dst, placeholderHead...)
	dst = strconv.AppendInt(dst, int64(num), 10)
	return append(dst, placeholderTail)
}

// placeholderAt returns the number of the placeholder that starts at b[i], and the index behind it.
// ok is false if there is none or if it refers to none of n attachments.
func placeholderAt(b []byte, i, n int) (num, end int, ok bool) {
	if !hasPrefixAt(b, i, placeholderHead) {
		return 0, 0, false
	}
	i += len(placeholderHead)
	start := i
	for ; i < len(b) && b[i]-'0' <= 9 && num < n; i++ {
		num = 10*num + int(b[i]-'0')
	}
	if i == start || num >= n || i == len(b) || b[i] != placeholderTail {
		return 0, 0, false
	}
	return num, i + 1, true
}

// nextPlaceholder finds the first placeholder in b[i:] that refers to one of n attachments. If there
// is none, start is len(b).
func nextPlaceholder(b []byte, i, n int) (start, num, end int) {
	for n > 0 {
		at := bytes.Index(b[i:], []byte(placeholderHead))
		if at < 0 {
			break
		}
		i += at
		if num, end, ok := placeholderAt(b, i, n); ok {
			return i, num, end
		}
		i += len(placeholderHead)
	}
	return len(b), 0, len(b)
}

// appendRenumbered appends a JSON text that refers to some of attachments so that it refers to the
// same ones behind those that are in all already, and adds them there, each once and in the order
// in which the text mentions them.
func appendRenumbered(dst, text []byte, all, attachments [][]byte) ([]byte, [][]byte) {
	var few [16]int // where attachment k went, plus one
	moved := few[:]
	if len(attachments) > len(few) {
		moved = make([]int, len(attachments))
	}
	for i := 0; i < len(text); {
		start, num, end := nextPlaceholder(text, i, len(attachments))
		dst = append(dst, text[i:start]...)
		if start < len(text) {
			if moved[num] == 0 {
				all = append(all, attachments[num])
				moved[num] = len(all)
			}
			dst = appendPlaceholder(dst, moved[num]-1)
		}
		i = end
	}
	return dst, all
}

// canonical returns a copy of a checked JSON text from a peer in which every placeholder has the
// canonical spelling. ok is false if one does not refer to one of n attachments.
//
// What counts as a placeholder is what JavaScript sees after JSON.parse: an object, whatever else is
// in it, whose last member "_placeholder" is true; the number is its last member "num".
func canonical(text []byte, n int) (out []byte, ok bool) {
	c := canonizer{text: text, n: n, out: make([]byte, 0, len(text))}
	_, ok = c.value(0)
	return c.out, ok
}

type canonizer struct {
	text []byte
	n    int
	out  []byte
}

// value copies the value at i and returns the index behind it. It recurses as deep as the text is
// nested, which checkJSON has limited.
func (c *canonizer) value(i int) (end int, ok bool) {
	i = skipSpace(c.text, i)
	switch c.text[i] {
	case '{':
		return c.object(i)
	case '[':
		return c.array(i)
	case '"':
		end = skipString(c.text, i)
	default:
		end = skipScalar(c.text, i)
	}
	c.out = append(c.out, c.text[i:end]...)
	return end, true
}

func (c *canonizer) array(i int) (end int, ok bool) {
	ok = true
	c.out = append(c.out, '[')
	for i = skipSpace(c.text, i+1); c.text[i] != ']'; {
		var valid bool
		i, valid = c.value(i)
		ok = ok && valid
		if i = skipSpace(c.text, i); c.text[i] == ',' {
			c.out = append(c.out, ',')
			i++
		}
	}
	c.out = append(c.out, ']')
	return i + 1, ok
}

func (c *canonizer) object(i int) (end int, ok bool) {
	var (
		start       = len(c.out)
		placeholder bool
		num         []byte
	)
	ok = true
	c.out = append(c.out, '{')
	for i = skipSpace(c.text, i+1); c.text[i] != '}'; {
		nameEnd := skipString(c.text, i)
		name := c.text[i+1 : nameEnd-1]
		if hasEscape(name) {
			name = appendUnescaped(nil, name)
		}
		c.out = append(append(c.out, c.text[i:nameEnd]...), ':')
		i = skipSpace(c.text, nameEnd) + 1
		valueStart := skipSpace(c.text, i)
		var valid bool
		i, valid = c.value(i)
		ok = ok && valid
		switch string(name) {
		case "_placeholder":
			placeholder = c.text[valueStart] == 't'
		case "num":
			num = c.text[valueStart:i]
		}
		if i = skipSpace(c.text, i); c.text[i] == ',' {
			c.out = append(c.out, ',')
			i = skipSpace(c.text, i+1)
		}
	}
	c.out = append(c.out, '}')
	if placeholder {
		// The object is replaced as a whole: what is inside it does not matter.
		var k int
		if k, ok = c.index(num); ok {
			c.out = appendPlaceholder(c.out[:start], k)
		}
	}
	return i + 1, ok
}

// index returns the value of the member "num". A fraction would be undefined in JavaScript; here it
// is refused.
func (c *canonizer) index(num []byte) (k int, ok bool) {
	if len(num) == 0 || num[0] != '-' && num[0]-'0' > 9 {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(num), 64)
	if err != nil || f < 0 || f >= float64(c.n) || f != float64(int(f)) {
		return 0, false
	}
	return int(f), true
}

// AppendString adds s as the last element to array, a JSON text like `["a",1]` that ends with its
// bracket, and returns the longer text. It writes over that bracket: array must belong to the caller.
func AppendString(array []byte, s string) []byte {
	end := len(array) - 1
	empty := array[skipSpace(array, 1)] == ']'
	array = array[:end]
	if !empty {
		array = append(array, ',')
	}
	return append(appendString(array, s), ']')
}
