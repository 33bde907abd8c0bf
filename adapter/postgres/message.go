package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Limits of PostgreSQL.
const (
	// maxPayload is the size of the longest notification.
	maxPayload = 7999
	// maxChannel is the length of the longest name of a channel. LISTEN cuts longer ones off, and NOTIFY refuses them.
	maxChannel = 63
)

var errChannel = errors.New("postgres: the name of the namespace does not serve as the name of a channel")

// checkChannel returns errChannel for the name of a channel that PostgreSQL does not take.
func checkChannel(name string) error {
	if len(name) > maxChannel || !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%w: %.100q", errChannel, name)
	}
	return nil
}

// encode returns m as JSON, if that fits into a notification of the size threshold, and otherwise as MessagePack, for the
// table. The first byte of JSON is "{", which is none of MessagePack.
func encode(m *adapter.Message, threshold int) []byte {
	payload := m.Append(nil)
	if payload[0] != '{' {
		return payload
	}
	if !utf8.Valid(payload) {
		// What clients send need not be UTF-8. PostgreSQL takes nothing else.
		payload = bytes.ToValidUTF8(payload, []byte("\ufffd"))
	}
	if len(payload) > min(threshold, maxPayload) {
		return parser.AppendMessagePack(make([]byte, 0, len(payload)), parser.Value{Data: payload})
	}
	return payload
}

// isNotification reports whether encode has returned JSON.
func isNotification(payload []byte) bool { return payload[0] == '{' }

// appendReferenceHead appends what is notified of an attachment up to its id, which `"}` is to follow.
func appendReferenceHead(dst []byte, uid string, kind adapter.MessageType) []byte {
	dst = jsontext.AppendString(append(dst, `{"uid":`...), uid)
	dst = strconv.AppendUint(append(dst, `,"type":`...), uint64(kind), 10)
	return append(dst, `,"attachmentId":"`...)
}

func malformed(what string) error { return fmt.Errorf("%w: %s", adapter.ErrMalformed, what) }

// reference stands for a message that is in the table.
type reference struct {
	uid  string
	kind adapter.MessageType // 0 if it does not say, or something unknown
	id   int64
}

// decodeReference decodes a notification that refers to an attachment. ok is false if it is a message itself. An error is
// adapter.ErrMalformed, wrapped.
func decodeReference(payload []byte) (ref reference, ok bool, err error) {
	if len(payload) == 0 || payload[0] != '{' {
		return ref, false, malformed("not an object")
	}
	if !bytes.Contains(payload, []byte(`"attachmentId"`)) {
		return ref, false, nil
	}
	v, err := adapter.DecodeValue(payload)
	if err != nil {
		return ref, false, err
	}
	r, _ := jsontext.Read(v.Data, '{')
	for {
		key, value, more := r.Member()
		if !more {
			return ref, ok, nil
		}
		switch string(key) {
		case "uid":
			ref.uid, _ = jsontext.String(value)
		case "type":
			if n, ok := jsontext.Count(value); ok && n <= math.MaxUint8 {
				ref.kind = adapter.MessageType(n)
			}
		case "attachmentId":
			ok = true
			id, _ := jsontext.Name(value) // a string; a number is one, too
			if ref.id, err = strconv.ParseInt(id, 10, 64); err != nil {
				return ref, false, malformed("attachmentId")
			}
		}
	}
}
