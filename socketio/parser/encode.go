package parser

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Encode appends <type>[<n>-][<namespace>,][<id>][<JSON>]. The binary messages are p.Attachments.
//
// Socket.IO protocol v5, "Packet encoding".
func (t *textParser) Encode(dst []byte, p *Packet) (text []byte, binary [][]byte, err error) {
	if err := encodable(p); err != nil {
		return nil, nil, err
	}
	if n := len(p.Attachments); n > 0 {
		dst = append(dst, '0'+byte(p.Type-Event+BinaryEvent))
		dst = strconv.AppendInt(dst, int64(n), 10)
		dst = append(dst, '-')
	} else {
		dst = append(dst, '0'+byte(p.Type))
	}
	if p.Namespace != "" && p.Namespace != "/" {
		dst = append(append(dst, p.Namespace...), ',')
	}
	if p.HasID {
		dst = strconv.AppendUint(dst, p.ID, 10)
	}
	return append(dst, p.Data...), p.Attachments, nil
}

// encodable checks what every Parser requires of a packet.
func encodable(p *Packet) error {
	if p.Type > ConnectError {
		return fmt.Errorf("parser: packet of type %v cannot be encoded", p.Type)
	}
	if len(p.Attachments) > 0 && p.Type != Event && p.Type != Ack {
		return fmt.Errorf("parser: packet of type %v cannot have attachments", p.Type)
	}
	return nil
}

// AppendArgs appends args to dst as a JSON array, in the way JavaScript would print it, and returns
// it with the attachments that it refers to, which are appended to attachments. Placeholders are
// numbered from len(attachments).
//
// A value is encoded as by encoding/json, but without escaping for HTML, and every []byte inside it,
// of a named type or not, becomes an attachment, unless a type around it marshals itself. A nil
// []byte is null. Attachments are the slices of the caller, not copies. Nothing that args refer to
// is written to.
//
// The error says which argument cannot be encoded and why: a channel or function, NaN or an
// infinity, a cycle, or an error of a Marshaler. The other results are then nil.
func AppendArgs(dst []byte, attachments [][]byte, args ...any) (text []byte, all [][]byte, err error) {
	return appendArgs(append(dst, '['), attachments, false, args)
}

// AppendEvent is AppendArgs with name as the first element: the payload of an Event. It does not
// look whether the name is reserved.
func AppendEvent(dst []byte, attachments [][]byte, name string, args ...any) (text []byte, all [][]byte, err error) {
	return appendArgs(appendString(append(dst, '['), name), attachments, true, args)
}

func appendArgs(dst []byte, attachments [][]byte, comma bool, args []any) ([]byte, [][]byte, error) {
	e := encoder{text: dst, attachments: attachments}
	for i, arg := range args {
		if comma {
			e.text = append(e.text, ',')
		}
		comma = true
		if err := e.value(arg, 0); err != nil {
			return nil, nil, fmt.Errorf("parser: argument %d: %w", i, err)
		}
	}
	return append(e.text, ']'), e.attachments, nil
}

// maxEncodeDepth is the number of levels to which a value that is encoded may be nested: enough for
// what is not a cycle.
const maxEncodeDepth = 1000

var errDepth = fmt.Errorf("value is nested deeper than %d levels or contains itself", maxEncodeDepth)

// encoder collects the text and the attachments of a list of arguments.
type encoder struct {
	text        []byte
	attachments [][]byte
}

// value appends v. The types that arguments have most often are handled here, others by reflection.
func (e *encoder) value(v any, depth int) error {
	switch v := v.(type) {
	case nil:
		e.null()
	case string:
		e.text = appendString(e.text, v)
	case bool:
		e.text = strconv.AppendBool(e.text, v)
	case int:
		e.text = strconv.AppendInt(e.text, int64(v), 10)
	case int8:
		e.text = strconv.AppendInt(e.text, int64(v), 10)
	case int16:
		e.text = strconv.AppendInt(e.text, int64(v), 10)
	case int32:
		e.text = strconv.AppendInt(e.text, int64(v), 10)
	case int64:
		e.text = strconv.AppendInt(e.text, v, 10)
	case uint:
		e.text = strconv.AppendUint(e.text, uint64(v), 10)
	case uint8:
		e.text = strconv.AppendUint(e.text, uint64(v), 10)
	case uint16:
		e.text = strconv.AppendUint(e.text, uint64(v), 10)
	case uint32:
		e.text = strconv.AppendUint(e.text, uint64(v), 10)
	case uint64:
		e.text = strconv.AppendUint(e.text, v, 10)
	case float32:
		return e.float(float64(v), 32)
	case float64:
		return e.float(v, 64)
	case []byte:
		e.binary(v)
	case json.RawMessage:
		return e.raw(v)
	case Value:
		e.received(v)
	case Args:
		e.text = append(e.text, '[')
		if i := v.start(); i < len(v.Data) {
			e.received(Value{Data: v.Data[i:], Attachments: v.Attachments})
		} else {
			e.text = append(e.text, ']')
		}
	case []any:
		return e.list(v, depth)
	case map[string]any:
		return e.object(v, depth)
	case []string:
		if v == nil {
			e.null()
			break
		}
		e.text = append(e.text, '[')
		for i, s := range v {
			if i > 0 {
				e.text = append(e.text, ',')
			}
			e.text = appendString(e.text, s)
		}
		e.text = append(e.text, ']')
	default:
		return e.reflect(v)
	}
	return nil
}

func (e *encoder) null() { e.text = append(e.text, "null"...) }

func (e *encoder) float(f float64, bitSize int) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%v is not a number in JSON", f)
	}
	e.text = appendFloat(e.text, f, bitSize)
	return nil
}

func (e *encoder) binary(b []byte) {
	if b == nil {
		e.null()
		return
	}
	e.text = appendPlaceholder(e.text, len(e.attachments))
	e.attachments = append(e.attachments, b)
}

var errRaw = errors.New("json.RawMessage is not valid JSON")

func (e *encoder) raw(m json.RawMessage) error {
	if m == nil {
		e.null()
		return nil
	}
	start := skipSpace(m, 0)
	end, high, ok := checkJSON(m, start, math.MaxInt)
	if !ok || skipSpace(m, end) < len(m) {
		return errRaw
	}
	from := len(e.text)
	e.text = append(e.text, m[start:end]...)
	if high {
		e.repair(from)
	}
	return nil
}

// repair replaces what is not valid UTF-8 in the text from index from on: a client drops the
// connection when it gets any.
func (e *encoder) repair(from int) {
	if text := e.text[from:]; !utf8.Valid(text) {
		e.text = append(e.text[:from], validUTF8(text)...)
	}
}

func (e *encoder) received(v Value) {
	if v.Data == nil {
		e.null()
		return
	}
	from := len(e.text)
	e.text, e.attachments = appendRenumbered(e.text, v.Data, e.attachments, v.Attachments)
	e.compact(from)
}

// compact removes the white space around the tokens of the text from index from on, as a server does
// that decodes and encodes what it passes on.
func (e *encoder) compact(from int) {
	b, i := e.text, from
	for ; i < len(b) && skipSpace(b, i) == i; i++ {
		if b[i] == '"' {
			i = skipString(b, i) - 1
		}
	}
	to := i
	for i = skipSpace(b, i); i < len(b); i = skipSpace(b, i) {
		end := i + 1
		if b[i] == '"' {
			end = skipString(b, i)
		}
		to += copy(b[to:], b[i:end])
		i = end
	}
	e.text = b[:to]
}

func (e *encoder) list(list []any, depth int) error {
	if list == nil {
		e.null()
		return nil
	}
	if depth == maxEncodeDepth {
		return errDepth
	}
	e.text = append(e.text, '[')
	for i, v := range list {
		if i > 0 {
			e.text = append(e.text, ',')
		}
		if err := e.value(v, depth+1); err != nil {
			return err
		}
	}
	e.text = append(e.text, ']')
	return nil
}

// object appends m with its keys in order, as encoding/json does.
func (e *encoder) object(m map[string]any, depth int) error {
	if m == nil {
		e.null()
		return nil
	}
	if depth == maxEncodeDepth {
		return errDepth
	}
	var few [16]string
	keys := few[:0]
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	e.text = append(e.text, '{')
	for i, key := range keys {
		if i > 0 {
			e.text = append(e.text, ',')
		}
		e.text = append(appendString(e.text, key), ':')
		if err := e.value(m[key], depth+1); err != nil {
			return err
		}
	}
	e.text = append(e.text, '}')
	return nil
}
