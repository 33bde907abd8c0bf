package parser

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"github.com/myriad-rt/myriad/transport"
)

// Type is the type of a packet, as it stands on the wire.
//
// Socket.IO protocol v5, "Packet types".
type Type byte

const (
	Connect Type = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

var typeNames = [...]string{"CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK"}

// String returns the name that the protocol text uses.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("Type(%d)", byte(t))
}

// Packet is a Socket.IO packet in the form in which it travels inside a server, whatever the bytes
// on the wire look like.
type Packet struct {
	// Type is never BinaryEvent or BinaryAck: that follows from the number of attachments.
	Type Type
	// Namespace is the name of the namespace; "" stands for "/".
	Namespace string
	// ID is the acknowledgement id, if HasID.
	ID    uint64
	HasID bool
	// Data is the payload as JSON text without surrounding white space: an array for Event and Ack,
	// an object for Connect, an object or a string for ConnectError. It is nil if there is none.
	Data []byte
	// Attachments are the binary parts. Only Event and Ack have any, and Connect if it comes as
	// MessagePack. Data refers to number k by
	// exactly this text, in which other spellings of the same object are plain data:
	//
	//	{"_placeholder":true,"num":k}
	//
	// Without attachments even that text is plain data.
	Attachments [][]byte
	// Message, if not nil, is the message that is to carry the packet: Data stands in it, and encoding the
	// packet writes the rest in front of it. A copy of the packet that gets other data is encoded into a message
	// of its own.
	Message *transport.Message
}

// Args returns the arguments: the elements behind the name of an Event, or all elements of an Ack.
// They share memory with p.
func (p *Packet) Args() Args {
	if p.Type != Event {
		return Args{Data: p.Data, Attachments: p.Attachments}
	}
	_, rest, _ := EventName(p.Data)
	return Args{Data: rest, Attachments: p.Attachments}
}

// Clone returns a copy of p that shares no memory with it.
func (p *Packet) Clone() Packet {
	c := *p
	c.Message = nil
	c.Data = bytes.Clone(p.Data)
	if p.Attachments != nil {
		c.Attachments = make([][]byte, len(p.Attachments))
		for i, a := range p.Attachments {
			c.Attachments[i] = bytes.Clone(a)
		}
	}
	return c
}

// Parser translates between packets and the messages of a session. Its methods are safe for
// concurrent use. They must neither block nor call methods of a server, because the server may
// call them with a lock held.
type Parser interface {
	// Encode appends the text message for p to dst and returns it together with the binary messages
	// that follow it. If nothing was appended to dst there is no text message. The binary messages
	// may be the attachments of p themselves. After an error the other results are nil.
	Encode(dst []byte, p *Packet) (text []byte, binary [][]byte, err error)
	// NewDecoder returns a decoder.
	NewDecoder() Decoder
}

// Decoder turns messages into packets. It belongs to one session from the first message of a packet
// to the last. Between packets it may go to another one, so that idle sessions need none. It is not
// safe for concurrent use. After an error it must not be used any more: the client is to be closed.
type Decoder interface {
	// Add takes the next message. If complete is false, a packet has begun and some of its
	// attachments are still missing; p is then undefined. Otherwise all fields of p are set.
	//
	// data is borrowed: if the packet has no attachments, p.Data may point into it. Everything else
	// in p is new memory that belongs to the caller. The error is a *SyntaxError.
	Add(p *Packet, data []byte, binary bool) (complete bool, err error)
}

// Options limit packets from a peer. The zero value means the defaults.
type Options struct {
	// MaxAttachments is the largest number of binary attachments in one packet. The attachments of
	// an unfinished packet are held in memory, so a session may occupy this number times the size
	// limit for messages that its transport has. Zero means 10 (maxAttachments of the Node.js
	// parser); negative means none are accepted. Packets that are sent have no such limit.
	MaxAttachments int
	// MaxDepth is the number of levels to which arrays and objects of a payload may be nested.
	// Zero or less means 1000.
	MaxDepth int
}

const (
	defaultMaxAttachments = 10
	defaultMaxDepth       = 1000
)

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.MaxAttachments == 0 {
		c.MaxAttachments = defaultMaxAttachments
	}
	if c.MaxDepth <= 0 {
		c.MaxDepth = defaultMaxDepth
	}
	return c
}

// The reasons of a SyntaxError, in the words of the reference.
const (
	reasonUnknownType        = "unknown packet type "
	reasonIllegalCount       = "Illegal attachments"
	reasonTooMany            = "too many attachments"
	reasonPayload            = "invalid payload"
	reasonUnexpectedText     = "got plaintext data when reconstructing a packet"
	reasonUnexpectedBinary   = "got binary data when not reconstructing a packet"
	reasonIllegalPlaceholder = "illegal attachments"
	reasonPacketType         = "invalid packet type"
	reasonNamespace          = "invalid namespace"
	reasonPacketID           = "invalid packet id"
	reasonUnreadable         = "Could not parse"
)

// SyntaxError says why a message from a peer is not a packet.
type SyntaxError struct {
	// Reason is the message of the error that the reference raises, word for word.
	Reason string
	// Offset is the index in the message of the first wrong byte.
	Offset int
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("parser: %s (at byte %d)", e.Reason, e.Offset)
}

// ReservedEvent reports whether name has a meaning of its own and cannot be the name of an event,
// neither of one that is received nor of one that is sent.
func ReservedEvent(name string) bool { return reserved([]byte(name)) }

func reserved(name []byte) bool {
	switch string(name) {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// ReservedEventError reports an event whose name has a meaning of its own and cannot be emitted.
type ReservedEventError struct{ Event string }

// Error implements error.
func (e *ReservedEventError) Error() string {
	return fmt.Sprintf("parser: %q is a reserved event name", e.Event)
}

// ReservedServerEvent reports whether name cannot be the name of an event that servers emit for each other.
func ReservedServerEvent(name string) bool {
	switch name {
	case "connect", "connection", "new_namespace":
		return true
	}
	return false
}

// names gives the same string for the same bytes again, so that packets of a namespace other than
// "/" need no allocation. It is a cache of fixed size in which a name displaces another one: names
// that clients invent cost nothing but a miss.
type names struct {
	slots [64]atomic.Pointer[string]
}

const maxCachedName = 128 // bytes

var nameSeed = maphash.MakeSeed()

func (n *names) get(b []byte) string {
	if len(b) == 1 && b[0] == '/' {
		return "/"
	}
	if len(b) > maxCachedName {
		return string(validUTF8(b))
	}
	slot := &n.slots[maphash.Bytes(nameSeed, b)%uint64(len(n.slots))]
	if s := slot.Load(); s != nil && *s == string(b) {
		return *s
	}
	s := string(validUTF8(b))
	slot.Store(&s)
	return s
}
