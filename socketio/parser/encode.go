package parser

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

// Encode appends <type>[<n>-][<namespace>,][<id>][<JSON>]. The binary messages are p.Attachments.
//
// Socket.IO protocol v5, "Packet encoding".
func (t *textParser) Encode(dst []byte, p *Packet) (text []byte, binary [][]byte, err error) {
	if dst, err = t.appendHead(dst, p); err != nil {
		return nil, nil, err
	}
	return append(dst, p.Data...), p.Attachments, nil
}

// appendHead appends the part of the message in front of Data.
func (t *textParser) appendHead(dst []byte, p *Packet) ([]byte, error) {
	if err := encodable(p); err != nil {
		return nil, err
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
	return dst, nil
}

// encodable reports whether p can be encoded in any format.
func encodable(p *Packet) error {
	if p.Type > ConnectError {
		return fmt.Errorf("parser: packet of type %v cannot be encoded", p.Type)
	}
	if len(p.Attachments) > 0 && p.Type != Event && p.Type != Ack {
		return fmt.Errorf("parser: packet of type %v cannot have attachments", p.Type)
	}
	return nil
}

// AppendArgs appends args to dst as a JSON array, as JavaScript would print it, and returns it with the attachments that
// it refers to, which are appended to attachments. Placeholders are numbered from len(attachments).
//
// Values are encoded as encoding/json does, with three differences. Characters of HTML are not escaped. Every []byte,
// of a named type or not, becomes an attachment, unless a type around it marshals itself; a nil []byte is null. A
// time.Time has the form that a Date has in JavaScript: UTC with milliseconds. A [Value] and [Args], which have been
// received, are written as JavaScript would encode them after decoding. Attachments are the slices of the caller, not copies.
// AppendArgs does not write to anything that args refer to.
//
// The error says which argument cannot be encoded and why: a channel or function, NaN or an infinity, a value that
// contains itself, or an error of a Marshaler. The other results are then nil.
func AppendArgs(dst []byte, attachments [][]byte, args ...any) (text []byte, all [][]byte, err error) {
	return appendArgs(append(dst, '['), attachments, false, args)
}

// AppendEvent is AppendArgs with name as the first element: the payload of an Event. It does not
// look whether the name is reserved.
func AppendEvent(dst []byte, attachments [][]byte, name string, args ...any) (text []byte, all [][]byte, err error) {
	return appendArgs(jsontext.AppendString(append(dst, '['), name), attachments, true, args)
}

func appendArgs(dst []byte, attachments [][]byte, comma bool, args []any) ([]byte, [][]byte, error) {
	e := encoder{text: dst, attachments: attachments}
	for i, arg := range args {
		if comma {
			e.text = append(e.text, ',')
		}
		comma = true
		if err := e.value(arg); err != nil {
			return nil, nil, fmt.Errorf("parser: argument %d: %w", i, err)
		}
	}
	return append(e.text, ']'), e.attachments, nil
}

// A value that is encoded may be nested to maxEncodeLevels, with no more than maxEncodeHops pointers and interfaces one
// behind the other: enough for everything but a value that contains itself.
const (
	maxEncodeLevels = 1000
	maxEncodeHops   = 1000
)

var errDepth = fmt.Errorf("value is nested deeper than %d levels or contains itself", maxEncodeLevels)

// encoder collects the text and the attachments of a list of arguments.
type encoder struct {
	text        []byte
	attachments [][]byte
	levels      int // arrays and objects that have begun
	hops        int // pointers and interfaces since the last of them
}

// open begins an array or object.
func (e *encoder) open(bracket byte) error {
	if e.levels == maxEncodeLevels {
		return errDepth
	}
	e.levels++
	e.hops = 0
	e.text = append(e.text, bracket)
	return nil
}

// comma separates an element from one in front of it.
func (e *encoder) comma() {
	if c := e.text[len(e.text)-1]; c != '[' && c != '{' {
		e.text = append(e.text, ',')
	}
}

// name begins a member of an object.
func (e *encoder) name(s string) {
	e.comma()
	e.text = append(jsontext.AppendString(e.text, s), ':')
}

// close ends an array or object.
func (e *encoder) close(bracket byte) {
	e.levels--
	e.text = append(e.text, bracket)
}

// value appends v. The types that arguments have most often are handled here, others by reflection.
func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.null()
	case string:
		e.text = jsontext.AppendString(e.text, v)
	case bool:
		e.text = strconv.AppendBool(e.text, v)
	case int:
		e.text = strconv.AppendInt(e.text, int64(v), 10)
	case int8, int16, int32, int64:
		e.text = strconv.AppendInt(e.text, reflect.ValueOf(v).Int(), 10)
	case uint, uint8, uint16, uint32, uint64:
		e.text = strconv.AppendUint(e.text, reflect.ValueOf(v).Uint(), 10)
	case float32:
		return e.float(float64(v), 32)
	case float64:
		return e.float(v, 64)
	case time.Time:
		e.text = jsontext.AppendTime(e.text, v)
	case []byte:
		e.binary(v)
	case json.RawMessage:
		return e.raw(v)
	case Value:
		e.received(v)
	case Args:
		e.args(v)
	case []any:
		return e.list(v)
	case map[string]any:
		return e.object(v)
	case []string:
		if v == nil {
			e.null()
		} else {
			e.text = jsontext.AppendStrings(e.text, v)
		}
	default:
		x := reflect.ValueOf(v)
		return e.reflect(x, kindOf(x.Type()))
	}
	return nil
}

func (e *encoder) null() { e.text = append(e.text, "null"...) }

func (e *encoder) float(f float64, bitSize int) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%v is not a number in JSON", f)
	}
	e.text = jsontext.AppendFloat(e.text, f, bitSize)
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
	start := jsontext.SkipSpace(m, 0)
	end, high, ok := jsontext.Check(m, start, math.MaxInt)
	if !ok || jsontext.SkipSpace(m, end) < len(m) {
		return errRaw
	}
	from := len(e.text)
	e.text = append(e.text, m[start:end]...)
	if high {
		e.repair(from)
	}
	return nil
}

// repair replaces invalid UTF-8 in the text from index from on: a client that receives any drops
// its connection.
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
	if v.Data[0] == '"' {
		if end, escaped := jsontext.ScanString(v.Data, 0); !escaped && end == len(v.Data) {
			e.text = append(e.text, v.Data...) // without further ado: most values are strings
			return
		}
	}
	e.text, e.attachments = passOn(e.text, e.attachments, v)
}

func (e *encoder) args(a Args) {
	e.text = append(e.text, '[')
	if i := a.start(); i < len(a.Data) {
		e.received(Value{Data: a.Data[i:], Attachments: a.Attachments})
	} else {
		e.text = append(e.text, ']')
	}
}

func (e *encoder) list(list []any) error {
	if list == nil {
		e.null()
		return nil
	}
	if err := e.open('['); err != nil {
		return err
	}
	for _, v := range list {
		e.comma()
		if err := e.value(v); err != nil {
			return err
		}
	}
	e.close(']')
	return nil
}

// object appends m with its keys in order, as encoding/json does.
func (e *encoder) object(m map[string]any) error {
	if m == nil {
		e.null()
		return nil
	}
	if err := e.open('{'); err != nil {
		return err
	}
	var few [16]string
	keys := few[:0]
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		e.name(key)
		if err := e.value(m[key]); err != nil {
			return err
		}
	}
	e.close('}')
	return nil
}
