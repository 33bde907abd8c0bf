package adapter

import (
	"strconv"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// AppendBufferJSON appends the text of v and encodes each attachment as JSON.stringify of Node.js encodes a Buffer:
// {"type":"Buffer","data":[1,2]}. Nodes that exchange plain JSON represent binary data in this form.
func AppendBufferJSON(dst []byte, v parser.Value) []byte {
	return v.AppendReplaced(dst, func(dst []byte, num int) []byte {
		dst = append(dst, `{"type":"Buffer","data":[`...)
		for i, c := range v.Attachments[num] {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendUint(dst, uint64(c), 10)
		}
		return append(dst, "]}"...)
	})
}
