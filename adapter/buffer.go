package adapter

import (
	"strconv"

	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// placeholder is what the text of an attachment starts with; see parser.Packet.
const placeholder = `{"_placeholder":true,"num":`

// AppendBufferJSON appends the text of v with each attachment written as JSON.stringify of Node.js writes a
// Buffer: {"type":"Buffer","data":[1,2]}. That is what binary becomes where nodes exchange plain JSON.
func AppendBufferJSON(dst []byte, v parser.Value) []byte {
	text := v.Data
	for i := 0; i < len(text); {
		if text[i] == '"' {
			end := jsontext.Skip(text, i)
			dst = append(dst, text[i:end]...)
			i = end
			continue
		}
		if num, end, ok := placeholderAt(text, i, len(v.Attachments)); ok {
			dst = appendBuffer(dst, v.Attachments[num])
			i = end
			continue
		}
		dst = append(dst, text[i])
		i++
	}
	return dst
}

// placeholderAt returns the number of the placeholder that starts at text[i], if it is one of n, and the index
// behind it.
func placeholderAt(text []byte, i, n int) (num, end int, ok bool) {
	if n == 0 || text[i] != '{' || len(text)-i <= len(placeholder) || string(text[i:i+len(placeholder)]) != placeholder {
		return 0, 0, false
	}
	i += len(placeholder)
	end = i
	for end < len(text) && text[end]-'0' <= 9 {
		end++
	}
	num, err := strconv.Atoi(string(text[i:end]))
	if err != nil || num >= n || end == len(text) || text[end] != '}' {
		return 0, 0, false
	}
	return num, end + 1, true
}

func appendBuffer(dst, b []byte) []byte {
	dst = append(dst, `{"type":"Buffer","data":[`...)
	for i, c := range b {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return append(dst, "]}"...)
}
