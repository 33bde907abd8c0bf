package parser

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

// Default is the parser that official clients use unless told otherwise, with default limits.
//
// Socket.IO protocol v5, "Packet encoding".
var Default = New(nil)

type textParser struct {
	options Options
	names   names
}

// New returns a parser for the default wire format.
func New(o *Options) Parser {
	return &textParser{options: o.withDefaults()}
}

func (t *textParser) NewDecoder() Decoder { return &decoder{parser: t} }

// decoder is small because every session has one.
type decoder struct {
	parser  *textParser
	pending *pending // nil unless attachments are missing
}

// pending is a packet whose attachments are on their way.
type pending struct {
	packet  Packet
	missing int
}

func (d *decoder) Add(p *Packet, data []byte, binary bool) (complete bool, err error) {
	if binary {
		return d.addAttachment(p, data)
	}
	if d.pending != nil {
		return false, &SyntaxError{Reason: reasonUnexpectedText}
	}
	attachments, err := d.parser.decode(p, data)
	if err != nil {
		return false, err
	}
	if attachments == 0 {
		return true, nil
	}
	d.pending = &pending{packet: *p, missing: attachments}
	return false, nil
}

func (d *decoder) addAttachment(p *Packet, data []byte) (complete bool, err error) {
	w := d.pending
	if w == nil {
		return false, &SyntaxError{Reason: reasonUnexpectedBinary}
	}
	w.packet.Attachments = append(w.packet.Attachments, append(make([]byte, 0, len(data)), data...))
	if w.missing--; w.missing > 0 {
		return false, nil
	}
	*p = w.packet
	d.pending = nil
	return true, nil
}

// decode reads a text message into p and returns the number of attachments that are to follow. If
// there are any, nothing in p points into b.
//
// It is lenient where the reference is, and says so where that is not obvious.
func (t *textParser) decode(p *Packet, b []byte) (attachments int, err error) {
	*p = Packet{}
	wire, err := packetType(b)
	if err != nil {
		return 0, err
	}
	i := min(1, len(b))
	p.Type = wire
	if wire >= BinaryEvent {
		p.Type = wire - BinaryEvent + Event
		if attachments, i, err = t.attachmentCount(b, i); err != nil {
			return 0, err
		}
	}
	p.Namespace = "/"
	if i < len(b) && b[i] == '/' {
		end := len(b)
		next := end
		if n := bytes.IndexByte(b[i:], ','); n >= 0 {
			end = i + n
			next = end + 1
		}
		p.Namespace = t.names.get(b[i:end])
		i = next
	}
	if i, err = packetID(p, b, i); err != nil {
		return 0, err
	}
	if i < len(b) {
		if p.Data, err = t.payload(wire, b, i); err != nil {
			return 0, err
		}
	}
	if attachments > 0 && p.Data != nil {
		// The reference notices a wrong placeholder only when the last attachment has come.
		var ok bool
		if p.Data, ok = canonical(p.Data, attachments); !ok {
			return 0, &SyntaxError{Reason: reasonIllegalPlaceholder, Offset: i}
		}
	}
	return attachments, nil
}

// packetType reads the first character as JavaScript's Number does: nothing and white space are 0.
func packetType(b []byte) (Type, error) {
	if len(b) == 0 {
		return Connect, nil
	}
	switch c := b[0]; {
	case c >= '0' && c <= '6':
		return Type(c - '0'), nil
	case c >= '7' && c <= '9':
		return 0, &SyntaxError{Reason: reasonUnknownType + string(c)}
	case isSpace(c):
		return Connect, nil
	}
	return 0, &SyntaxError{Reason: reasonUnknownType + "NaN"}
}

// isSpace reports whether JavaScript's Number ignores c. (It ignores other characters too, which no
// client sends.)
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// attachmentCount reads "<n>-" at b[i].
func (t *textParser) attachmentCount(b []byte, i int) (n, end int, err error) {
	start := i
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		n = min(10*n+int(b[i]-'0'), math.MaxInt32) // no overflow, and above any limit
	}
	if i == len(b) || b[i] != '-' || n == 0 {
		return 0, i, &SyntaxError{Reason: reasonIllegalCount, Offset: start}
	}
	if n > t.options.MaxAttachments {
		return 0, i, &SyntaxError{Reason: reasonTooMany, Offset: start}
	}
	return n, i + 1, nil
}

// packetID reads the acknowledgement id at b[i], if there is one. As in the reference white space
// around the digits belongs to it, and white space alone is 0.
func packetID(p *Packet, b []byte, i int) (end int, err error) {
	start := i
	for i < len(b) && (b[i]-'0' <= 9 || isSpace(b[i])) {
		i++
	}
	if i == start {
		return i, nil
	}
	p.HasID = true
	digits := bytes.TrimSpace(b[start:i])
	for _, c := range digits {
		if isSpace(c) {
			return i, &SyntaxError{Reason: reasonPayload, Offset: start}
		}
		p.ID = 10*p.ID + uint64(c-'0')
	}
	if len(digits) > maxExactDigits {
		p.ID = roundedID(digits)
	}
	return i, nil
}

// maxExactDigits is the number of digits up to which a JavaScript number holds any integer exactly.
const maxExactDigits = 15

// roundedID returns an id with many digits as JavaScript prints it, because the reference sends
// that back. An id that does not fit into 64 bits becomes the largest one, which no socket reaches.
func roundedID(digits []byte) uint64 {
	id, err := strconv.ParseUint(string(jsontext.Number(digits)), 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return id
}

// payload checks the JSON text that fills the rest of b from i on and returns it. It points into b
// unless b is not valid UTF-8.
func (t *textParser) payload(wire Type, b []byte, i int) ([]byte, error) {
	end, high, ok := jsontext.Check(b, i, t.options.MaxDepth)
	if !ok || jsontext.SkipSpace(b, end) < len(b) {
		return nil, &SyntaxError{Reason: reasonPayload, Offset: end}
	}
	data := b[i:end:end]
	if high {
		data = validUTF8(data)
	}
	valid := false
	switch wire {
	case Connect:
		valid = data[0] == '{'
	case ConnectError:
		valid = data[0] == '{' || data[0] == '"'
	case Event, BinaryEvent:
		valid = data[0] == '[' && validEvent(data)
	case Ack, BinaryAck:
		valid = data[0] == '['
	}
	if !valid {
		return nil, &SyntaxError{Reason: reasonPayload, Offset: i}
	}
	return data, nil
}

// validEvent reports whether the first element of an array is a number or a name that is not reserved.
func validEvent(data []byte) bool {
	name, _, ok := EventName(data)
	return ok && !reserved(name)
}

// EventName returns the name in the payload of an Event without looking at the arguments. rest is
// the text from the name to the end of the array, in the form that Args takes. Both point into
// data unless the name has escapes. A name that is a number is returned as JavaScript prints it.
// ok is false if the payload is nil or does not belong to an Event.
func EventName(data []byte) (name, rest []byte, ok bool) {
	if len(data) == 0 || data[0] != '[' {
		return nil, nil, false
	}
	i := jsontext.SkipSpace(data, 1)
	if i == len(data) {
		return nil, nil, false
	}
	var end int
	switch c := data[i]; {
	case c == '"':
		name, end = jsontext.ReadString(data, i)
	case jsontext.IsNumber(data[i:]):
		end = jsontext.SkipScalar(data, i)
		name = jsontext.Number(data[i:end:end])
	default:
		return nil, nil, false
	}
	return name, data[jsontext.SkipSpace(data, end):], true
}

// Valid reports whether text can be the Data of a Packet, Args or Value: one JSON value in valid
// UTF-8, without white space around it, nested no deeper than the default depth.
func Valid(text []byte) bool {
	if jsontext.SkipSpace(text, 0) > 0 {
		return false
	}
	end, high, ok := jsontext.Check(text, 0, defaultMaxDepth)
	return ok && end == len(text) && (!high || utf8.Valid(text))
}

// validUTF8 returns b itself or, if it is not valid UTF-8, a copy with U+FFFD for each run of wrong bytes.
func validUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD"))
}
