package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/internal/msgpack"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// MessageType is the type of a Message. The values are the reference's.
type MessageType uint8

const (
	MessageInitialHeartbeat MessageType = 1 + iota
	MessageHeartbeat
	MessageBroadcast
	MessageSocketsJoin
	MessageSocketsLeave
	MessageDisconnectSockets
	MessageFetchSockets
	MessageFetchSocketsResponse
	MessageServerSideEmit
	MessageServerSideEmitResponse
	MessageBroadcastClientCount
	MessageBroadcastAck
	MessageAdapterClose
)

// IsResponse reports whether messages of this type answer a request. They are addressed to the requesting node.
func (t MessageType) IsResponse() bool {
	switch t {
	case MessageFetchSocketsResponse, MessageServerSideEmitResponse, MessageBroadcastClientCount, MessageBroadcastAck:
		return true
	}
	return false
}

// Message is a message between the nodes of a cluster. It concerns one namespace.
type Message struct {
	Type MessageType
	// UID identifies the sending node. It is EmitterUID for emitters, which are not nodes, and empty for an unknown
	// sender.
	UID string
	// Namespace is the name with its leading slash, or empty if the sender omitted it.
	Namespace string
	// To is the receiving node of a response. It is not part of the encoding.
	To string
	// Offset is the position of the message in a Keeper. It is not part of the encoding.
	Offset string

	// RequestID links requests and responses. A broadcast or server-side event without one expects no answer.
	RequestID string
	// Options selects sockets, for all messages that concern sockets.
	Options Options
	// Value is the event of a MessageBroadcast or MessageServerSideEmit, an array that its name begins, and the
	// answer in a MessageServerSideEmitResponse or MessageBroadcastAck, where it may be the zero Value.
	Value parser.Value
	// Rooms lists the rooms to join or leave.
	Rooms []string
	// CloseConn requests that a MessageDisconnectSockets also closes the clients' connections.
	CloseConn bool
	// Sockets is the content of a MessageFetchSocketsResponse.
	Sockets []Description
	// ClientCount is the number of clients asked for an acknowledgement, in a MessageBroadcastClientCount.
	ClientCount int
}

// EmitterUID is the UID in messages of emitters, which are not nodes.
const EmitterUID = "emitter"

// Limits for messages of other nodes.
const (
	// MaxMessageBytes is the maximum size in bytes of a message that DecodeMessage and DecodeValue accept.
	MaxMessageBytes = 64 << 20
	// maxMessageAttachments bounds the binary values of a message, each of which costs more here than there.
	maxMessageAttachments = 10_000
)

// Errors of decoding. They are wrapped with details.
var (
	// ErrMalformed reports data that is not a valid message.
	ErrMalformed = errors.New("adapter: malformed message")
	// ErrUnknownType reports a message of an unknown type. Later versions may send such messages.
	ErrUnknownType = errors.New("adapter: unknown message type")
)

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// IsBinary reports whether m contains binary data, which JSON cannot represent.
func (m *Message) IsBinary() bool { return len(m.Value.Attachments) > 0 }

// Append appends the encoding of m to dst: JSON, or MessagePack if m contains binary data. The first byte of JSON is "{".
func (m *Message) Append(dst []byte) []byte {
	if m.IsBinary() {
		return m.AppendMessagePack(dst)
	}
	return m.appendJSON(dst)
}

// AppendMessagePack appends m as MessagePack, even if it contains no binary data.
func (m *Message) AppendMessagePack(dst []byte) []byte {
	return parser.AppendMessagePack(dst, parser.Value{Data: m.appendJSON(nil), Attachments: m.Value.Attachments})
}

// headBytes is the space for the parts of a typical message other than Value.
const headBytes = 208

// appendJSON appends m with placeholders for its attachments.
func (m *Message) appendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, len(m.Value.Data)+headBytes)
	dst = append(dst, `{"type":`...)
	dst = strconv.AppendUint(dst, uint64(m.Type), 10)
	if m.hasData() {
		dst = m.AppendData(append(dst, `,"data":`...))
	}
	dst = jsontext.AppendString(append(dst, `,"uid":`...), m.UID)
	dst = jsontext.AppendString(append(dst, `,"nsp":`...), m.Namespace)
	return append(dst, '}')
}

func (m *Message) hasData() bool {
	switch m.Type {
	case MessageInitialHeartbeat, MessageHeartbeat, MessageAdapterClose:
		return false
	}
	return true
}

// AppendData appends the data of a message, in the sense of the reference, as JSON: everything except its type, sender and
// namespace. Binary data appears as placeholders, which parser.AppendMessagePack replaces by m.Value.Attachments.
func (m *Message) AppendData(dst []byte) []byte {
	dst = append(dst, '{')
	switch m.Type {
	case MessageBroadcast:
		dst = append(dst, `"packet":{"type":2,"data":`...)
		dst = append(append(dst, m.Value.Data...), '}', ',')
		dst = m.appendRequestID(dst)
		dst = m.Options.AppendJSON(append(dst, `"opts":`...))
	case MessageSocketsJoin, MessageSocketsLeave:
		dst = m.Options.AppendJSON(append(dst, `"opts":`...))
		dst = jsontext.AppendStrings(append(dst, `,"rooms":`...), m.Rooms)
	case MessageDisconnectSockets:
		dst = m.Options.AppendJSON(append(dst, `"opts":`...))
		dst = strconv.AppendBool(append(dst, `,"close":`...), m.CloseConn)
	case MessageFetchSockets:
		dst = m.Options.AppendJSON(append(dst, `"opts":`...))
		dst = append(dst, ',')
		dst = trimComma(m.appendRequestID(dst))
	case MessageFetchSocketsResponse:
		dst = m.appendRequestID(dst)
		dst = AppendDescriptions(append(dst, `"sockets":`...), m.Sockets)
	case MessageServerSideEmit, MessageServerSideEmitResponse, MessageBroadcastAck:
		dst = m.appendRequestID(dst)
		if m.Value.Data != nil {
			dst = append(append(dst, `"packet":`...), m.Value.Data...)
		}
		dst = trimComma(dst)
	case MessageBroadcastClientCount:
		dst = m.appendRequestID(dst)
		dst = strconv.AppendInt(append(dst, `"clientCount":`...), int64(m.ClientCount), 10)
	}
	return append(dst, '}')
}

// appendRequestID appends a member with a comma behind it, or nothing: receivers take a key without a value
// for one.
func (m *Message) appendRequestID(dst []byte) []byte {
	if m.RequestID == "" {
		return dst
	}
	dst = jsontext.AppendString(append(dst, `"requestId":`...), m.RequestID)
	return append(dst, ',')
}

func trimComma(b []byte) []byte {
	if b[len(b)-1] == ',' {
		return b[:len(b)-1]
	}
	return b
}

// AppendJSON appends the encoding of o for other nodes. It omits Local, because local operations are not sent.
func (o *Options) AppendJSON(dst []byte) []byte {
	dst = o.AppendSelection(dst)
	dst = append(dst[:len(dst)-1], `,"flags":{`...)
	if o.Flags.ExpectSingleResponse {
		dst = append(dst, `"expectSingleResponse":true,`...)
	}
	if o.Flags.Volatile {
		dst = append(dst, `"volatile":true,`...)
	}
	if o.Flags.NoCompress {
		dst = append(dst, `"compress":false,`...)
	}
	if o.Flags.Timeout > 0 {
		dst = strconv.AppendInt(append(dst, `"timeout":`...), milliseconds(o.Flags.Timeout), 10)
	}
	return append(trimComma(dst), "}}"...)
}

// AppendSelection appends o without its flags.
func (o *Options) AppendSelection(dst []byte) []byte {
	dst = jsontext.AppendStrings(append(dst, `{"rooms":`...), o.Rooms)
	dst = jsontext.AppendStrings(append(dst, `,"except":`...), o.Except)
	return append(dst, '}')
}

// milliseconds rounds up, so that a timeout remains one.
func milliseconds(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// AppendDescriptions appends a JSON array that describes sockets.
func AppendDescriptions(dst []byte, sockets []Description) []byte {
	dst = append(dst, '[')
	for i, d := range sockets {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = jsontext.AppendString(append(dst, `{"id":`...), d.ID)
		dst = appendObject(append(dst, `,"handshake":`...), d.Handshake)
		dst = jsontext.AppendStrings(append(dst, `,"rooms":`...), d.Rooms)
		dst = appendObject(append(dst, `,"data":`...), d.Data)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendObject(dst []byte, text json.RawMessage) []byte {
	if len(text) == 0 {
		return append(dst, "{}"...)
	}
	return append(dst, text...)
}

// DecodeMessage decodes a message encoded by Append or by another implementation of the protocol. The result may share memory
// with b, which must not change afterwards. Errors wrap ErrMalformed or ErrUnknownType.
func DecodeMessage(b []byte) (*Message, error) {
	v, err := DecodeValue(b)
	if err != nil {
		return nil, err
	}
	r, ok := jsontext.Read(v.Data, '{')
	if !ok {
		return nil, malformed("not an object")
	}
	m := new(Message)
	data := parser.Value{Attachments: v.Attachments}
	for {
		key, value, more := r.Member()
		if !more {
			break
		}
		switch string(key) {
		case "type":
			n, ok := jsontext.Count(value)
			if !ok {
				return nil, malformed("type")
			}
			m.Type = MessageType(min(n, math.MaxUint8))
		case "data":
			data.Data = value
		case "uid":
			m.UID, ok = jsontext.String(value)
		case "nsp":
			m.Namespace, ok = jsontext.String(value)
		}
		if !ok {
			return nil, malformed(string(key))
		}
	}
	return m, m.DecodeData(data)
}

// DecodeValue decodes the single value in b: JSON if b begins with "{", or else MessagePack. The result may share memory with
// b. Errors wrap ErrMalformed.
func DecodeValue(b []byte) (parser.Value, error) {
	if len(b) > MaxMessageBytes {
		return parser.Value{}, malformed("too long")
	}
	if len(b) > 0 && b[0] == '{' {
		if !parser.Valid(b) {
			return parser.Value{}, malformed("invalid JSON")
		}
		return parser.Value{Data: b}, nil
	}
	if err := countBinary(b); err != nil {
		return parser.Value{}, err
	}
	text, attachments, n, err := parser.AppendFromMessagePack(make([]byte, 0, len(b)+len(b)/2), nil, b, true)
	if err != nil {
		return parser.Value{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if n != len(b) {
		return parser.Value{}, malformed("trailing bytes")
	}
	return parser.Value{Data: text, Attachments: attachments}, nil
}

// countBinary refuses more binary values than are accepted, before any is made.
func countBinary(b []byte) error {
	r := msgpack.NewReader(b)
	count := 0
	for r.Rest() > 0 {
		t, err := r.Next()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if t.Kind == msgpack.Binary || t.Kind == msgpack.Ext {
			count++
		}
	}
	if count > maxMessageAttachments {
		return malformed("too many binary values")
	}
	return nil
}

// DecodeData decodes data encoded by AppendData into m, whose Type must be set. The result may share memory with data. Errors
// wrap ErrMalformed or ErrUnknownType.
func (m *Message) DecodeData(data parser.Value) error {
	if m.Type == 0 || m.Type > MessageAdapterClose {
		return fmt.Errorf("%w: %d", ErrUnknownType, m.Type)
	}
	if !m.hasData() {
		return nil
	}
	r, ok := readObject(data.Data)
	if !ok {
		return malformed("data")
	}
	for {
		key, value, more := r.Member()
		if !more {
			break
		}
		switch string(key) {
		case "opts":
			m.Options, ok = DecodeOptions(value)
		case "packet":
			m.Value, ok = m.decodePacket(parser.Value{Data: value, Attachments: data.Attachments})
		case "requestId":
			m.RequestID, _ = jsontext.String(value)
		case "rooms":
			m.Rooms, ok = jsontext.Names(value)
		case "close":
			m.CloseConn = string(value) == "true"
		case "sockets":
			m.Sockets, ok = DecodeDescriptions(parser.Value{Data: value, Attachments: data.Attachments})
		case "clientCount":
			m.ClientCount, ok = jsontext.Count(value)
		}
		if !ok {
			return malformed(string(key))
		}
	}
	return m.check()
}

// check sees to it that nothing is missing that would change the meaning of a message.
func (m *Message) check() error {
	switch m.Type {
	case MessageBroadcast, MessageServerSideEmit:
		if m.Value.Data == nil {
			return malformed("no packet")
		}
	case MessageFetchSockets:
		if m.RequestID == "" {
			return malformed("no request id")
		}
	}
	if m.Type.IsResponse() && m.RequestID == "" {
		return malformed("no request id")
	}
	return nil
}

// decodePacket returns the value of the key packet.
func (m *Message) decodePacket(v parser.Value) (parser.Value, bool) {
	switch m.Type {
	case MessageBroadcast:
		event, _, ok := DecodeEvent(v)
		return event, ok
	case MessageServerSideEmit:
		_, _, ok := parser.EventName(v.Data)
		return v, ok
	case MessageServerSideEmitResponse, MessageBroadcastAck:
		v, err := OwnValue(v)
		return v, err == nil
	}
	return parser.Value{}, true // it means nothing
}

// DecodeEvent returns the payload of the packet that v is, the object that nodes broadcast, and its namespace, or
// "" if it has none. ok is false unless it is an event that clients can be sent.
func DecodeEvent(v parser.Value) (event parser.Value, namespace string, ok bool) {
	r, ok := jsontext.Read(v.Data, '{')
	for ok {
		key, value, more := r.Member()
		if !more {
			break
		}
		switch string(key) {
		case "type":
			ok = string(value) == "2"
		case "data":
			event = parser.Value{Data: value, Attachments: v.Attachments}
		case "nsp":
			namespace, ok = jsontext.String(value)
		}
	}
	if !ok || !IsEvent(event.Data) {
		return parser.Value{}, "", false
	}
	event, err := OwnValue(event)
	return event, namespace, err == nil
}

// IsEvent reports whether data is an array that the name of an event begins. Clients that are sent another, or
// the name of an event that is reserved, close their connection.
func IsEvent(data []byte) bool {
	name, _, ok := parser.EventName(data)
	return ok && !parser.ReservedEvent(string(name))
}

// OwnValue returns v with only those attachments that it refers to.
func OwnValue(v parser.Value) (parser.Value, error) {
	if len(v.Attachments) == 0 || v.Data == nil {
		return parser.Value{Data: v.Data}, nil
	}
	list, attachments, err := parser.AppendArgs(nil, nil, v)
	if err != nil {
		return parser.Value{}, err
	}
	return parser.Value{Data: list[1 : len(list)-1 : len(list)-1], Attachments: attachments}, nil
}

// readObject returns a reader for an object. An array without elements is one, too: PHP has one type for both, and
// encodes it as an array while it is empty.
func readObject(text []byte) (r jsontext.Reader, ok bool) {
	if r, ok = jsontext.Read(text, '['); ok {
		_, some := r.Element()
		return r, !some
	}
	return jsontext.Read(text, '{')
}

// DecodeOptions decodes options encoded by Options.AppendJSON or Options.AppendSelection. Unknown flags are ignored.
func DecodeOptions(text []byte) (o Options, ok bool) {
	r, ok := readObject(text)
	for ok {
		key, value, more := r.Member()
		if !more {
			break
		}
		switch string(key) {
		case "rooms":
			o.Rooms, ok = jsontext.Names(value)
		case "except":
			o.Except, ok = jsontext.Names(value)
		case "flags":
			o.Flags, ok = decodeFlags(value)
		}
	}
	return o, ok
}

// maxTimeout is the longest timeout that is taken from another node.
const maxTimeout = time.Hour

func decodeFlags(text []byte) (f Flags, ok bool) {
	if string(text) == "null" {
		return f, true
	}
	r, ok := readObject(text)
	if !ok {
		return f, false
	}
	for {
		key, value, more := r.Member()
		if !more {
			return f, true
		}
		switch string(key) {
		case "volatile":
			f.Volatile = string(value) == "true"
		case "compress":
			f.NoCompress = string(value) == "false"
		case "expectSingleResponse":
			f.ExpectSingleResponse = string(value) == "true"
		case "timeout":
			if ms, err := strconv.ParseFloat(string(value), 64); err == nil && ms > 0 {
				f.Timeout = time.Duration(min(ms, float64(maxTimeout/time.Millisecond)) * float64(time.Millisecond))
			}
		}
	}
}

// DecodeDescriptions decodes the output of AppendDescriptions. Binary data is converted to the JSON of a Node.js Buffer.
func DecodeDescriptions(v parser.Value) (sockets []Description, ok bool) {
	r, ok := jsontext.Read(v.Data, '[')
	sockets = []Description{}
	for ok {
		element, more := r.Element()
		if !more {
			break
		}
		var d Description
		d, ok = decodeDescription(parser.Value{Data: element, Attachments: v.Attachments})
		sockets = append(sockets, d)
	}
	return sockets, ok
}

func decodeDescription(v parser.Value) (d Description, ok bool) {
	r, ok := jsontext.Read(v.Data, '{')
	for ok {
		key, value, more := r.Member()
		if !more {
			break
		}
		switch string(key) {
		case "id":
			d.ID, ok = jsontext.String(value)
		case "handshake":
			d.Handshake = AppendBufferJSON(nil, parser.Value{Data: value, Attachments: v.Attachments})
		case "rooms":
			d.Rooms, ok = jsontext.Names(value)
		case "data":
			d.Data = AppendBufferJSON(nil, parser.Value{Data: value, Attachments: v.Attachments})
		}
	}
	return d, ok && d.ID != ""
}
