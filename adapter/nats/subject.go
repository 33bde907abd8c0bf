package nats

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/myriad-rt/myriad/adapter"
)

// subjects builds the subjects of a namespace:
//
//	PREFIX.NAMESPACE.all        all nodes
//	PREFIX.NAMESPACE.node.UID   one node
//	PREFIX.NAMESPACE.room.ROOM  the nodes that have the room
type subjects struct {
	base string // ends with a dot
	mode adapter.SubscriptionMode
}

func newSubjects(prefix, namespace string, mode adapter.SubscriptionMode) subjects {
	return subjects{base: prefix + "." + token(strings.TrimPrefix(namespace, "/")) + ".", mode: mode}
}

func (s subjects) all() string             { return s.base + "all" }
func (s subjects) node(uid string) string  { return s.base + "node." + token(uid) }
func (s subjects) room(name string) string { return s.base + "room." + token(name) }

// of returns the subject for m. A message to one room that expects no answer goes only to the nodes that have the room.
func (s subjects) of(m *adapter.Message) string {
	if m.To != "" {
		return s.node(m.To)
	}
	if m.RequestID == "" && len(m.Options.Rooms) == 1 && s.mode.HasChannel(m.Options.Rooms[0]) {
		return s.room(m.Options.Rooms[0])
	}
	return s.all()
}

// maxToken is the maximum length of an encoded name, in bytes. By default, a server accepts commands of up to 4096 bytes.
const maxToken = 240

// token encodes a name as a token of a subject. Letters, digits, "-" and "_" stay unchanged. Any other byte becomes "%" and
// two hexadecimal digits. The empty name becomes "%", and a long name becomes "~" and its hash.
func token(name string) string {
	if name == "" {
		return "%"
	}
	const digits = "0123456789ABCDEF"
	var b []byte
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
		if len(b) > maxToken {
			sum := sha256.Sum256([]byte(name))
			return "~" + hex.EncodeToString(sum[:])
		}
	}
	return string(b)
}

// validPrefix reports whether prefix and a dot can begin a subject.
func validPrefix(prefix string) bool {
	if len(prefix) > maxToken {
		return false
	}
	for t := range strings.SplitSeq(prefix, ".") {
		if t == "" || strings.ContainsAny(t, "*> \t\r\n\x00") {
			return false
		}
	}
	return true
}
