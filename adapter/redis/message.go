package redis

import (
	"fmt"
	"strconv"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/internal/msgpack"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// The messages of @socket.io/redis-adapter. Broadcasts are MessagePack. Other messages are JSON, unless they carry a
// packet for clients or an acknowledgement.

// Types of requests and responses.
const (
	requestSockets = iota
	requestAllRooms
	requestJoin
	requestLeave
	requestDisconnect
	requestFetch
	requestServerSideEmit
	requestBroadcast
	responseClientCount
	responseAck
)

// pack converts text to MessagePack. text is JSON with placeholders for the attachments of v.
func pack(text []byte, v parser.Value) []byte {
	size := len(text)
	for _, a := range v.Attachments {
		size += len(a)
	}
	return parser.AppendMessagePack(make([]byte, 0, size), value(text, v))
}

func appendPacket(dst []byte, m *adapter.Message) []byte {
	dst = append(append(dst, `{"type":2,"data":`...), m.Value.Data...)
	dst = jsontext.AppendString(append(dst, `,"nsp":`...), m.Namespace)
	return append(dst, '}')
}

// texts holds buffers for the input of pack.
var texts bufpool.Pool

// broadcastHead returns the first bytes of a node's broadcasts.
func broadcastHead(uid string) []byte {
	return msgpack.AppendString(msgpack.AppendArrayHead(nil, 3), uid)
}

func encodeBroadcast(m *adapter.Message) []byte {
	buffer := texts.Get()
	defer texts.Put(buffer)
	text := jsontext.AppendString(append(buffer.B, '['), m.UID)
	text = appendPacket(append(text, ','), m)
	buffer.B = append(m.Options.AppendJSON(append(text, ',')), ']')
	return pack(buffer.B, m.Value)
}

func encodeRequest(m *adapter.Message) []byte {
	text := jsontext.AppendString([]byte(`{"uid":`), m.UID)
	if m.RequestID != "" {
		text = jsontext.AppendString(append(text, `,"requestId":`...), m.RequestID)
	}
	text = append(text, `,"type":`...)
	switch m.Type {
	case adapter.MessageSocketsJoin:
		text = appendRooms(appendSelection(text, requestJoin, m), m)
	case adapter.MessageSocketsLeave:
		text = appendRooms(appendSelection(text, requestLeave, m), m)
	case adapter.MessageDisconnectSockets:
		text = strconv.AppendBool(append(appendSelection(text, requestDisconnect, m), `,"close":`...), m.CloseConn)
	case adapter.MessageFetchSockets:
		text = appendSelection(text, requestFetch, m)
	case adapter.MessageServerSideEmit:
		text = append(strconv.AppendInt(text, requestServerSideEmit, 10), `,"data":`...)
		text = adapter.AppendBufferJSON(text, m.Value)
	case adapter.MessageBroadcast:
		text = append(strconv.AppendInt(text, requestBroadcast, 10), `,"packet":`...)
		text = append(appendPacket(text, m), `,"opts":`...)
		return pack(append(m.Options.AppendJSON(text), '}'), m.Value)
	}
	return append(text, '}')
}

func appendSelection(dst []byte, kind int, m *adapter.Message) []byte {
	dst = strconv.AppendInt(dst, int64(kind), 10)
	return m.Options.AppendSelection(append(dst, `,"opts":`...))
}

func appendRooms(dst []byte, m *adapter.Message) []byte {
	return jsontext.AppendStrings(append(dst, `,"rooms":`...), m.Rooms)
}

func encodeResponse(m *adapter.Message) []byte {
	text := []byte{'{'}
	kind := func(n int) {
		text = strconv.AppendInt(append(text, `"type":`...), int64(n), 10)
		text = append(text, ',')
	}
	switch m.Type {
	case adapter.MessageServerSideEmitResponse:
		kind(requestServerSideEmit)
	case adapter.MessageBroadcastClientCount:
		kind(responseClientCount)
	case adapter.MessageBroadcastAck:
		kind(responseAck)
	}
	text = jsontext.AppendString(append(text, `"requestId":`...), m.RequestID)
	switch m.Type {
	case adapter.MessageFetchSocketsResponse:
		text = adapter.AppendDescriptions(append(text, `,"sockets":`...), m.Sockets)
	case adapter.MessageServerSideEmitResponse:
		if m.Value.Data != nil {
			text = adapter.AppendBufferJSON(append(text, `,"data":`...), m.Value)
		}
	case adapter.MessageBroadcastClientCount:
		text = strconv.AppendInt(append(text, `,"clientCount":`...), int64(m.ClientCount), 10)
	case adapter.MessageBroadcastAck:
		if m.Value.Data != nil {
			text = append(append(text, `,"packet":`...), m.Value.Data...)
		}
		return pack(append(text, '}'), m.Value)
	}
	return append(text, '}')
}

func malformed(what string) error { return fmt.Errorf("%w: %s", adapter.ErrMalformed, what) }

// maxDepth is the maximum nesting depth of a broadcast.
const maxDepth = 1000

// decodeBroadcast decodes a message of the form [uid, packet, opts]. It converts the event to text without interpreting its
// arguments.
func decodeBroadcast(payload []byte) (*adapter.Message, error) {
	if len(payload) > adapter.MaxMessageBytes {
		return nil, malformed("too long")
	}
	r := reader{Reader: msgpack.NewReader(payload), data: payload}
	head, err := r.Next()
	if err != nil || head.Kind != msgpack.Array || head.Len < 3 {
		return nil, malformed("not three elements")
	}
	uid, _, err := r.whole()
	if err != nil {
		return nil, err
	}
	m := &adapter.Message{Type: adapter.MessageBroadcast, UID: text(uid)}
	if err := r.packet(m); err != nil {
		return nil, err
	}
	_, raw, err := r.whole()
	if err != nil {
		return nil, err
	}
	opts, err := adapter.DecodeValue(raw)
	if err != nil {
		return nil, err
	}
	var ok bool
	if m.Options, ok = adapter.DecodeOptions(opts.Data); !ok {
		return nil, malformed("opts")
	}
	for range head.Len - 3 {
		if _, _, err := r.whole(); err != nil {
			return nil, err
		}
	}
	if r.Rest() > 0 {
		return nil, malformed("trailing bytes")
	}
	return m, nil
}

// reader reads a broadcast.
type reader struct {
	msgpack.Reader
	data []byte
}

// packet reads the packet of a broadcast. The namespace defaults to "/".
func (r *reader) packet(m *adapter.Message) error {
	head, err := r.Next()
	if err != nil || head.Kind != msgpack.Map {
		return malformed("packet")
	}
	for range head.Len {
		key, _, err := r.whole()
		if err != nil {
			return err
		}
		value, raw, err := r.whole()
		if err != nil {
			return err
		}
		ok := true
		switch text(key) {
		case "type":
			ok = value.Kind == msgpack.Uint && value.Uint == uint64(parser.Event)
		case "data":
			m.Value, err = adapter.DecodeValue(raw)
			ok = err == nil
		case "nsp":
			m.Namespace, ok = text(value), value.Kind == msgpack.String
		}
		if !ok {
			return malformed("packet")
		}
	}
	if !adapter.IsEvent(m.Value.Data) {
		return malformed("packet")
	}
	if m.Namespace == "" {
		m.Namespace = "/"
	}
	return nil
}

// whole reads a complete value. t is its first token and raw its encoding.
func (r *reader) whole() (t msgpack.Token, raw []byte, err error) {
	start := r.Pos()
	if t, err = r.Next(); err == nil && (t.Kind == msgpack.Array || t.Kind == msgpack.Map) {
		r.Seek(start)
		err = r.Skip(maxDepth)
	}
	if err != nil {
		return t, nil, fmt.Errorf("%w: %w", adapter.ErrMalformed, err)
	}
	return t, r.data[start:r.Pos()], nil
}

// text returns the string of t, or "" if t is not a string.
func text(t msgpack.Token) string {
	if t.Kind != msgpack.String {
		return ""
	}
	return string(t.Bytes)
}

// setPacket sets the event and the namespace of m. The namespace defaults to "/".
func setPacket(m *adapter.Message, packet parser.Value) error {
	var ok bool
	if m.Value, m.Namespace, ok = adapter.DecodeEvent(packet); !ok {
		return malformed("packet")
	}
	if m.Namespace == "" {
		m.Namespace = "/"
	}
	return nil
}

// request is a message on the channel of requests.
type request struct {
	kind int
	m    *adapter.Message
	// old is set for requests in the form that older versions send.
	old *oldRequest
}

// oldRequest concerns one socket.
type oldRequest struct{ socket, room string }

// fields holds the members of a request or response. Absent members are nil or empty.
type fields struct {
	kind                                              int
	uid, requestID, sid, room                         string
	opts, rooms, closed, data, packet, sockets, count []byte
}

// decodeFields reads an object. Absent members and members of the wrong type are not errors.
func decodeFields(text []byte) (f fields, err error) {
	r, ok := jsontext.Read(text, '{')
	if !ok {
		return f, malformed("not an object")
	}
	f.kind = -1
	for {
		key, value, more := r.Member()
		if !more {
			return f, nil
		}
		switch string(key) {
		case "type":
			if f.kind, ok = jsontext.Count(value); !ok {
				return f, malformed("type")
			}
		case "uid":
			f.uid, _ = jsontext.String(value)
		case "requestId":
			f.requestID, _ = jsontext.String(value)
		case "sid":
			f.sid, _ = jsontext.String(value)
		case "room":
			f.room, _ = jsontext.Name(value)
		case "opts":
			f.opts = value
		case "rooms":
			f.rooms = value
		case "close":
			f.closed = value
		case "data":
			f.data = value
		case "packet":
			f.packet = value
		case "sockets":
			f.sockets = value
		case "clientCount":
			f.count = value
		}
	}
}

// decodeRequest decodes a request. It decodes only the fields of a request sent by the node with the id own.
func decodeRequest(payload []byte, own string) (*request, error) {
	v, err := adapter.DecodeValue(payload)
	if err != nil {
		return nil, err
	}
	f, err := decodeFields(v.Data)
	if err != nil {
		return nil, err
	}
	m := &adapter.Message{UID: f.uid, RequestID: f.requestID, CloseConn: string(f.closed) == "true"}
	r := &request{kind: f.kind, m: m}
	if f.uid == own {
		return r, nil
	}
	return r, r.decode(&f, v)
}

func (r *request) decode(f *fields, v parser.Value) error {
	m := r.m
	var ok bool
	switch r.kind {
	case requestSockets, requestAllRooms:
		r.old = new(oldRequest)
		if m.Options.Rooms, ok = jsontext.Names(f.rooms); !ok || m.RequestID == "" {
			return malformed("request")
		}
		return nil
	case requestJoin, requestLeave, requestDisconnect:
		if f.opts == nil && f.sid != "" {
			r.old = &oldRequest{socket: f.sid, room: f.room}
			return nil
		}
		if m.Rooms, ok = jsontext.Names(f.rooms); !ok {
			return malformed("rooms")
		}
		m.Type = [...]adapter.MessageType{
			adapter.MessageSocketsJoin, adapter.MessageSocketsLeave, adapter.MessageDisconnectSockets,
		}[r.kind-requestJoin]
	case requestFetch:
		m.Type = adapter.MessageFetchSockets
	case requestServerSideEmit:
		if _, _, ok := parser.EventName(f.data); !ok {
			return malformed("data")
		}
		m.Type, m.Value = adapter.MessageServerSideEmit, value(f.data, v)
		return nil
	case requestBroadcast:
		m.Type = adapter.MessageBroadcast
		if err := setPacket(m, value(f.packet, v)); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: %d", adapter.ErrUnknownType, r.kind)
	}
	if m.Options, ok = adapter.DecodeOptions(f.opts); !ok {
		return malformed("opts")
	}
	if (m.Type == adapter.MessageFetchSockets || m.Type == adapter.MessageBroadcast) && m.RequestID == "" {
		return malformed("no request id")
	}
	// Node.js ignores the flags of requests.
	m.Options.Flags = adapter.Flags{Timeout: m.Options.Flags.Timeout}
	return nil
}

// decodeResponse decodes an answer. It returns nil if awaited reports false for the request.
func decodeResponse(payload []byte, awaited func(requestID string) bool) (*adapter.Message, error) {
	v, err := adapter.DecodeValue(payload)
	if err != nil {
		return nil, err
	}
	f, err := decodeFields(v.Data)
	if err != nil {
		return nil, err
	}
	if f.requestID == "" || !awaited(f.requestID) {
		return nil, nil
	}
	m := &adapter.Message{RequestID: f.requestID}
	var ok bool
	switch f.kind {
	case -1:
		// A node without sockets omits the member.
		m.Type = adapter.MessageFetchSocketsResponse
		if f.sockets == nil {
			return m, nil
		}
		if m.Sockets, ok = adapter.DecodeDescriptions(value(f.sockets, v)); !ok {
			return nil, malformed("sockets")
		}
	case requestServerSideEmit:
		m.Type, m.Value = adapter.MessageServerSideEmitResponse, value(f.data, v)
	case responseClientCount:
		m.Type = adapter.MessageBroadcastClientCount
		if m.ClientCount, ok = jsontext.Count(f.count); !ok {
			return nil, malformed("clientCount")
		}
	case responseAck:
		m.Type = adapter.MessageBroadcastAck
		if m.Value, err = adapter.OwnValue(value(f.packet, v)); err != nil {
			return nil, malformed("packet")
		}
	default:
		return nil, fmt.Errorf("%w: %d", adapter.ErrUnknownType, f.kind)
	}
	return m, nil
}
