package parser

import (
	"errors"
	"math"
	"strconv"

	"github.com/myriad-rt/myriad/internal/msgpack"
)

// defaultMaxInlineAttachments replaces defaultMaxAttachments where attachments are part of the
// message: they need no memory of their own beforehand, but each costs more than on the wire.
const defaultMaxInlineAttachments = 1000

// NewMessagePack returns a parser for the wire format of npm socket.io-msgpack-parser 3: one binary
// message for each packet, a MessagePack map with the keys type, data, id and nsp. Binary is part of
// the message; Options.MaxAttachments limits it as well, but its zero value means 1000 here.
//
// It accepts everything that notepack.io 2 writes. As in JSON, an undefined value becomes null in an
// array and is omitted from an object. Dates become ISO 8601 text, typed arrays become binary, NaN and
// the infinities become null, and an unknown extension becomes a list of its type and its bytes.
// Dates are sent as text, because JSON has no dates.
//
// Unlike the reference, it rejects reserved event names, negative ids, an empty namespace, and
// arrays, objects or extensions as keys.
func NewMessagePack(o *Options) Parser {
	m := &messagePack{}
	if o != nil {
		m.options = *o
	}
	if m.options.MaxAttachments == 0 {
		m.options.MaxAttachments = defaultMaxInlineAttachments
	}
	m.options = m.options.withDefaults()
	return m
}

type messagePack struct {
	options Options
	names   names
}

// NewDecoder returns m itself: no packet takes more than one message.
func (m *messagePack) NewDecoder() Decoder { return m }

// Encode writes the keys in the order in which the reference does.
func (m *messagePack) Encode(dst []byte, p *Packet) (text []byte, binary [][]byte, err error) {
	if err := encodable(p); err != nil {
		return nil, nil, err
	}
	size := len(p.Data) + len(p.Namespace) + 32
	for _, a := range p.Attachments {
		size += len(a)
	}
	b := make([]byte, 0, size)
	fields := 2
	if p.HasID {
		fields++
	}
	data := p.Data
	if data == nil && (p.Type == Event || p.Type == Ack) {
		data = []byte("[]") // a client insists on a list
	}
	if data != nil {
		fields++
	}
	b = msgpack.AppendMapHead(b, fields)
	if p.HasID && p.Type == Ack {
		b = msgpack.AppendUint(msgpack.AppendString(b, "id"), p.ID)
	}
	b = msgpack.AppendUint(msgpack.AppendString(b, "type"), uint64(p.Type))
	if data != nil && p.Type != ConnectError {
		b = AppendMessagePack(msgpack.AppendString(b, "data"), Value{Data: data, Attachments: p.Attachments})
	}
	if p.HasID && p.Type != Ack {
		b = msgpack.AppendUint(msgpack.AppendString(b, "id"), p.ID)
	}
	namespace := p.Namespace
	if namespace == "" {
		namespace = "/"
	}
	b = msgpack.AppendString(msgpack.AppendString(b, "nsp"), namespace)
	if data != nil && p.Type == ConnectError {
		b = AppendMessagePack(msgpack.AppendString(b, "data"), Value{Data: data})
	}
	return dst, [][]byte{b}, nil
}

// Add takes one packet.
func (m *messagePack) Add(p *Packet, data []byte, binary bool) (complete bool, err error) {
	if !binary {
		return false, &SyntaxError{Reason: reasonPacketType}
	}
	if err := m.decode(p, data); err != nil {
		return false, err
	}
	return true, nil
}

// fields are the values of the keys of a packet, undefined for those that are missing.
type fields struct {
	kind, id, nsp, data msgpack.Token
	dataStart           int
}

func (m *messagePack) decode(p *Packet, b []byte) error {
	*p = Packet{}
	r := msgpack.NewReader(b)
	f, err := m.fields(&r)
	if err != nil {
		return err
	}
	if r.Rest() > 0 {
		return &SyntaxError{Reason: strconv.Itoa(r.Rest()) + " trailing bytes", Offset: r.Pos()}
	}
	kind, ok := integer(f.kind)
	if !ok || kind > uint64(ConnectError) {
		return &SyntaxError{Reason: reasonPacketType}
	}
	p.Type = Type(kind)
	if f.nsp.Kind != msgpack.String || len(f.nsp.Bytes) == 0 {
		return &SyntaxError{Reason: reasonNamespace}
	}
	p.Namespace = m.names.get(f.nsp.Bytes)
	if err := m.payload(p, b, &f); err != nil {
		return err
	}
	if !isUndefined(f.id) {
		if p.ID, p.HasID = integer(f.id); !p.HasID {
			return &SyntaxError{Reason: reasonPacketID}
		}
	}
	return nil
}

// fields reads the map that a packet is. The last of equal keys counts.
func (m *messagePack) fields(r *msgpack.Reader) (f fields, err error) {
	f = fields{kind: undefined, id: undefined, nsp: undefined, data: undefined}
	head, err := r.Next()
	if err != nil {
		return f, unreadable(r)
	}
	if head.Kind != msgpack.Map {
		return f, &SyntaxError{Reason: reasonPacketType}
	}
	for range head.Len {
		start := r.Pos()
		key, err := r.Next()
		if err == nil && key.Kind != msgpack.String {
			r.Seek(start)
			err = r.Skip(m.options.MaxDepth)
		}
		if err != nil {
			return f, unreadable(r)
		}
		start = r.Pos()
		value, err := r.Next()
		if err != nil {
			return f, unreadable(r)
		}
		r.Seek(start)
		if err := r.Skip(m.options.MaxDepth); err != nil {
			return f, unreadable(r)
		}
		if key.Kind != msgpack.String {
			continue
		}
		switch string(key.Bytes) {
		case "type":
			f.kind = value
		case "id":
			f.id = value
		case "nsp":
			f.nsp = value
		case "data":
			f.data, f.dataStart = value, start
		}
	}
	return f, nil
}

func unreadable(r *msgpack.Reader) error {
	return &SyntaxError{Reason: reasonUnreadable, Offset: r.Pos()}
}

// integer returns the value of a number that JavaScript takes for an integer and that is not
// negative. Those that do not fit become the largest.
func integer(t msgpack.Token) (n uint64, ok bool) {
	switch t.Kind {
	case msgpack.Uint:
		return t.Uint, true
	case msgpack.Float:
		if t.Float < 0 || t.Float != math.Trunc(t.Float) || math.IsInf(t.Float, 1) {
			return 0, false
		}
		if t.Float >= 1<<64 {
			return math.MaxUint64, true
		}
		return uint64(t.Float), true
	}
	return 0, false
}

// payload converts the value of the key data.
func (m *messagePack) payload(p *Packet, b []byte, f *fields) error {
	kind, absent := f.data.Kind, isUndefined(f.data)
	valid := false
	switch p.Type {
	case Connect:
		valid = kind == msgpack.Map || absent
	case Disconnect:
		valid = absent
	case ConnectError:
		valid = kind == msgpack.Map || kind == msgpack.String
	case Event, Ack:
		valid = kind == msgpack.Array
	}
	if !valid {
		return &SyntaxError{Reason: reasonPayload, Offset: f.dataStart}
	}
	if absent {
		return nil
	}
	u := unpacker{Reader: msgpack.NewReader(b), options: m.options}
	u.Seek(f.dataStart)
	u.out = make([]byte, 0, u.Rest()+u.Rest()/4)
	if err := u.value(0); err != nil {
		reason := reasonPayload
		if errors.Is(err, errManyBinary) {
			reason = reasonTooMany
		}
		return &SyntaxError{Reason: reason, Offset: u.Pos()}
	}
	p.Data, p.Attachments = u.out, u.attachments
	if name, _, ok := EventName(p.Data); ok && p.Type == Event && reserved(name) {
		return &SyntaxError{Reason: reasonPayload, Offset: f.dataStart}
	}
	return nil
}
