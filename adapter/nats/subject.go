package nats

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/myriad-rt/myriad/adapter"
)

// subjects are those of a namespace. What is for one of several sends of messages is:
//
//	PREFIX.NAMESPACE.all        all nodes
//	PREFIX.NAMESPACE.node.UID   one node
//	PREFIX.NAMESPACE.room.ROOM  the nodes that have the room
type subjects struct {
	base string // with a dot behind it
	mode adapter.SubscriptionMode
}

func newSubjects(prefix, namespace string, mode adapter.SubscriptionMode) subjects {
	return subjects{base: prefix + "." + token(strings.TrimPrefix(namespace, "/")) + ".", mode: mode}
}

func (s subjects) all() string             { return s.base + "all" }
func (s subjects) node(uid string) string  { return s.base + "node." + token(uid) }
func (s subjects) room(name string) string { return s.base + "room." + token(name) }

// of returns the subject for m. What selects the sockets of one room, and asks for no answer, is for the nodes that
// have it.
func (s subjects) of(m *adapter.Message) string {
	if m.To != "" {
		return s.node(m.To)
	}
	if m.RequestID == "" && len(m.Options.Rooms) == 1 && s.mode.HasChannel(m.Options.Rooms[0]) {
		return s.room(m.Options.Rooms[0])
	}
	return s.all()
}

// maxToken is the length of the longest token that is made of a name as it is, in bytes. A server takes 4096 bytes
// for a whole command unless it is told otherwise.
const maxToken = 240

// token returns a token of a subject for a name: letters, digits, "-" and "_" are as they are, and any other byte is
// "%" and two hexadecimal digits. "%" alone is the empty name, and "~" begins the hash of a long one.
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

// validPrefix reports whether subjects can begin with prefix and a dot.
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
