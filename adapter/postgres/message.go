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
	// maxPayload is the maximum size of a notification, in bytes.
	maxPayload = 7999
	// maxChannel is the maximum length of a channel name, in bytes. LISTEN truncates longer names, and NOTIFY rejects them.
	maxChannel = 63
)

var errChannel = errors.New("postgres: namespace does not form a valid channel name")

// checkChannel returns an error that wraps errChannel if PostgreSQL does not accept name as a channel.
func checkChannel(name string) error {
	if len(name) > maxChannel || !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%w: %.100q", errChannel, name)
	}
	return nil
}

// encode returns m as JSON if it fits into a notification of at most threshold bytes, or else as MessagePack for the table.
// JSON begins with "{"; MessagePack does not.
func encode(m *adapter.Message, threshold int) []byte {
	payload := m.Append(nil)
	if payload[0] != '{' {
		return payload
	}
	if !utf8.Valid(payload) {
		// Data of clients may not be UTF-8. PostgreSQL requires it.
		payload = bytes.ToValidUTF8(payload, []byte("\ufffd"))
	}
	if len(payload) > min(threshold, maxPayload) {
		return parser.AppendMessagePack(make([]byte, 0, len(payload)), parser.Value{Data: payload})
	}
	return payload
}

// isNotification reports whether payload, a result of encode, is JSON.
func isNotification(payload []byte) bool { return payload[0] == '{' }

// appendReferenceHead appends the notification for an attachment up to its id. The caller adds the id and `"}`.
func appendReferenceHead(dst []byte, uid string, kind adapter.MessageType) []byte {
	dst = jsontext.AppendString(append(dst, `{"uid":`...), uid)
	dst = strconv.AppendUint(append(dst, `,"type":`...), uint64(kind), 10)
	return append(dst, `,"attachmentId":"`...)
}

func malformed(what string) error { return fmt.Errorf("%w: %s", adapter.ErrMalformed, what) }

// reference refers to a message in the table.
type reference struct {
	uid  string
	kind adapter.MessageType // 0 if absent or unknown
	id   int64
}

// decodeReference decodes a notification that refers to an attachment. ok is false if payload is itself a message. Errors
// wrap adapter.ErrMalformed.
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
			id, _ := jsontext.Name(value) // a string or a number
			if ref.id, err = strconv.ParseInt(id, 10, 64); err != nil {
				return ref, false, malformed("attachmentId")
			}
		}
	}
}
