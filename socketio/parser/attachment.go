package parser

import (
	"bytes"
	"strconv"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

// A placeholder is an object that stands in the payload for an attachment. Inside a server it has one spelling only,
// see Packet.Data. Its text cannot be part of a string, where the quotes would be escaped, so placeholders are found
// without parsing the text around them.
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
	if !jsontext.HasPrefixAt(b, i, placeholderHead) {
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

// AppendReplaced appends the text of v to dst. For each placeholder it calls write with the number of the attachment
// instead.
func (v Value) AppendReplaced(dst []byte, write func(dst []byte, num int) []byte) []byte {
	for i := 0; i < len(v.Data); {
		start, num, end := nextPlaceholder(v.Data, i, len(v.Attachments))
		dst = append(dst, v.Data[i:start]...)
		if start < len(v.Data) {
			dst = write(dst, num)
		}
		i = end
	}
	return dst
}
