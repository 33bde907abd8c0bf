package parser

import (
	"bytes"
	"crypto/rand"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

var (
	valueType           = reflect.TypeFor[Value]()
	rawType             = reflect.TypeFor[json.RawMessage]()
	unmarshalerType     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// bind stores the value in the variable that dst points to. The most frequent types of arguments are handled
// without reflection. All other types, and values that do not fit, are left to encoding/json, which also
// returns the error.
func (v Value) bind(dst any) error {
	if v.Data == nil {
		return nil
	}
	if b, ok := v.Binary(); ok {
		switch d := dst.(type) {
		case *[]byte:
			if d != nil {
				*d = b
				return nil
			}
		case *any:
			if d != nil {
				*d = b
				return nil
			}
		}
	}
	switch d := dst.(type) {
	case *string:
		if d != nil && v.Data[0] == '"' {
			*d, _ = stringAt(v.Data, 0)
			return nil
		}
	case *bool:
		if d != nil && (v.Data[0] == 't' || v.Data[0] == 'f') {
			*d = v.Data[0] == 't'
			return nil
		}
	case *int:
		if i, err := strconv.ParseInt(string(v.Data), 10, strconv.IntSize); d != nil && err == nil {
			*d = int(i)
			return nil
		}
	case *int64:
		if i, err := strconv.ParseInt(string(v.Data), 10, 64); d != nil && err == nil {
			*d = i
			return nil
		}
	case *uint64:
		if u, err := strconv.ParseUint(string(v.Data), 10, 64); d != nil && err == nil {
			*d = u
			return nil
		}
	case *float64:
		if c := v.Data[0]; d != nil && (c == '-' || c-'0' <= 9) {
			if f, err := strconv.ParseFloat(string(v.Data), 64); err == nil {
				*d = f
				return nil
			}
		}
	case *json.RawMessage:
		if d != nil {
			*d = bytes.Clone(v.Data)
			return nil
		}
	case *Value:
		if d != nil {
			*d = v.Clone()
			return nil
		}
	case *map[string]any:
		if d != nil && *d == nil && v.Data[0] == '{' {
			x, _, err := v.dynamic(0)
			if m, ok := x.(map[string]any); ok || err != nil {
				*d = m
				return err
			}
		}
	case *any:
		if d != nil && (*d == nil || !isPointer(*d)) {
			x, _, err := v.dynamic(0)
			if err == nil {
				*d = x
			}
			return err
		}
	}
	return v.unmarshal(dst)
}

func isPointer(x any) bool { return reflect.TypeOf(x).Kind() == reflect.Pointer }

// stringAt returns the string whose opening quote is b[i], and the index behind it.
func stringAt(b []byte, i int) (s string, end int) {
	end, escaped := jsontext.ScanString(b, i)
	content := b[i+1 : end-1]
	if !escaped {
		return string(content), end
	}
	var few [128]byte
	return string(jsontext.AppendContent(few[:0], content)), end
}

// dynamic returns the value at i of v.Data as encoding/json would store it in an empty interface,
// with a []byte for each placeholder, and the index behind it. It recurses as deep as the text is
// nested, which the decoder has limited.
func (v Value) dynamic(i int) (x any, end int, err error) {
	switch c := v.Data[i]; c {
	case '"':
		x, end = stringAt(v.Data, i)
		return x, end, nil
	case 't':
		return true, i + len("true"), nil
	case 'f':
		return false, i + len("false"), nil
	case 'n':
		return nil, i + len("null"), nil
	case '[':
		list := []any{}
		for i = jsontext.SkipSpace(v.Data, i+1); v.Data[i] != ']'; {
			if x, i, err = v.dynamic(i); err != nil {
				return nil, i, err
			}
			list = append(list, x)
			i = jsontext.Next(v.Data, i)
		}
		return list, i + 1, nil
	case '{':
		if num, end, ok := placeholderAt(v.Data, i, len(v.Attachments)); ok {
			return v.Attachments[num], end, nil
		}
		object := map[string]any{}
		for i = jsontext.SkipSpace(v.Data, i+1); v.Data[i] != '}'; {
			key, end := stringAt(v.Data, i)
			i = jsontext.SkipSpace(v.Data, jsontext.SkipSpace(v.Data, end)+1)
			if x, i, err = v.dynamic(i); err != nil {
				return nil, i, err
			}
			object[key] = x
			i = jsontext.Next(v.Data, i)
		}
		return object, i + 1, nil
	default:
		end = jsontext.SkipScalar(v.Data, i)
		f, err := strconv.ParseFloat(string(v.Data[i:end]), 64)
		if err != nil {
			return nil, end, &json.UnmarshalTypeError{Value: "number " + string(v.Data[i:end]), Type: reflect.TypeFor[float64](), Offset: int64(end)}
		}
		return f, end, nil
	}
}

// unmarshal stores the value with encoding/json. If there is binary in it, each placeholder is
// replaced beforehand by the base64 text of a mark, which encoding/json puts into a []byte, a
// string or an interface, and afterwards each mark by the attachment.
func (v Value) unmarshal(dst any) error {
	if start, _, _ := nextPlaceholder(v.Data, 0, len(v.Attachments)); start == len(v.Data) {
		return json.Unmarshal(v.Data, dst)
	}
	text := v.AppendReplaced(make([]byte, 0, len(v.Data)+len(v.Data)/2), bindMark.appendQuoted)
	err := json.Unmarshal(text, dst)
	if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); ok {
		return err
	}
	// Marks are taken away after an error too: they must not be seen.
	u := unmarker{attachments: v.Attachments}
	if e := u.value(reflect.ValueOf(dst).Elem(), 0); err == nil {
		err = e
	}
	return err
}

// maxBindDepth is deeper than encoding/json can fill a value: a deeper destination contains itself.
const maxBindDepth = 1 << 15

var errLoop = errors.New("destination contains itself")

var errBinaryString = errors.New("binary cannot be stored in a string")

// unmarker replaces marks in values that encoding/json has just filled.
type unmarker struct {
	attachments [][]byte
}

// value replaces the marks in x, which can be set.
func (u *unmarker) value(x reflect.Value, depth int) error {
	if depth > maxBindDepth {
		return errLoop
	}
	t := x.Type()
	switch t {
	case valueType:
		if text, found := u.text(x.Field(0).Bytes()); found {
			x.Set(reflect.ValueOf(Value{Data: text, Attachments: u.attachments}))
		}
		return nil
	case rawType:
		if text, found := u.text(x.Bytes()); found {
			x.SetBytes(text)
		}
		return nil
	}
	if k := t.Kind(); k != reflect.Interface && k != reflect.Pointer && (reflect.PointerTo(t).Implements(unmarshalerType) || reflect.PointerTo(t).Implements(textUnmarshalerType)) {
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		if _, ok := bindMark.numberOf(x.String()); ok {
			x.SetString("")
			return errBinaryString
		}
	case reflect.Interface:
		return u.dynamic(x, depth)
	case reflect.Pointer:
		if !x.IsNil() {
			return u.value(x.Elem(), depth+1)
		}
	case reflect.Struct:
		for f, field := range x.Fields() {
			if !encoded(f) || !f.IsExported() && f.Type.Kind() == reflect.Pointer {
				continue // encoding/json does not set it
			}
			if err := u.value(field, depth+1); err != nil {
				return err
			}
		}
	case reflect.Slice:
		if isBytes(t) {
			if num, ok := bindMark.number(x.Bytes()); ok && num < len(u.attachments) {
				x.SetBytes(u.attachments[num])
			}
			return nil
		}
		fallthrough
	case reflect.Array:
		for i := range x.Len() {
			if err := u.value(x.Index(i), depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		return u.entries(x, depth)
	}
	return nil
}

// dynamic replaces the mark that x, an interface, holds, or those in it.
func (u *unmarker) dynamic(x reflect.Value, depth int) error {
	if x.IsNil() {
		return nil
	}
	e := x.Elem()
	switch {
	case x.NumMethod() > 0 && e.Kind() != reflect.Pointer:
		return nil // not from encoding/json
	case e.Kind() == reflect.String:
		if num, ok := bindMark.numberOf(e.String()); ok && num < len(u.attachments) {
			x.Set(reflect.ValueOf(u.attachments[num]))
		}
		return nil
	case e.Kind() == reflect.Pointer:
		return u.value(e, depth+1)
	}
	c := reflect.New(e.Type()).Elem()
	c.Set(e)
	if err := u.value(c, depth+1); err != nil {
		return err
	}
	x.Set(c)
	return nil
}

func (u *unmarker) entries(m reflect.Value, depth int) error {
	for entries := m.MapRange(); entries.Next(); {
		c := reflect.New(m.Type().Elem()).Elem()
		c.Set(entries.Value())
		if err := u.value(c, depth+1); err != nil {
			return err
		}
		m.SetMapIndex(entries.Key(), c)
	}
	return nil
}

// text returns a JSON text with placeholders in place of marks.
func (u *unmarker) text(b []byte) (text []byte, found bool) {
	for i := 0; i < len(b); {
		start, num, end := bindMark.next(b, i)
		text = append(text, b[i:start]...)
		if start < len(b) {
			found = true
			text = appendPlaceholder(text, num)
		}
		i = end
	}
	return text, found
}

// mark stands for binary while a value passes through encoding/json: random bytes that no peer
// knows, followed by a number. Its length makes the base64 text end without padding.
type mark struct {
	random []byte
	text   []byte // base64 of random, after a quote
}

const (
	markRandom = 24
	markSize   = markRandom + 6 // bytes
)

var bindMark = newMark()

func newMark() *mark {
	m := &mark{random: make([]byte, markRandom)}
	_, _ = rand.Read(m.random) // never fails
	m.text = base64.StdEncoding.AppendEncode([]byte{'"'}, m.random)
	return m
}

// bytes returns the mark for a number.
func (m *mark) bytes(num int) []byte {
	b := append(make([]byte, 0, markSize), m.random...)
	n := uint64(num)
	return append(b, byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// number returns the number of a mark.
func (m *mark) number(b []byte) (num int, ok bool) {
	if len(b) != markSize || !bytes.HasPrefix(b, m.random) {
		return 0, false
	}
	for _, c := range b[markRandom:] {
		num = num<<8 | int(c)
	}
	return num, true
}

// numberOf returns the number of a mark in base64.
func (m *mark) numberOf(s string) (num int, ok bool) {
	if len(s) != base64.StdEncoding.EncodedLen(markSize) || s[:len(m.text)-1] != string(m.text[1:]) {
		return 0, false
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return 0, false
	}
	return m.number(b)
}

// appendQuoted appends the mark for a number as a JSON string.
func (m *mark) appendQuoted(dst []byte, num int) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), m.bytes(num))
	return append(dst, '"')
}

// next finds the first mark in b[i:], a JSON text. If there is none, start is len(b).
func (m *mark) next(b []byte, i int) (start, num, end int) {
	for {
		at := bytes.Index(b[i:], m.text)
		if at < 0 {
			return len(b), 0, len(b)
		}
		i += at
		end = i + 1 + base64.StdEncoding.EncodedLen(markSize) + 1
		if end <= len(b) && b[end-1] == '"' {
			if num, ok := m.numberOf(string(b[i+1 : end-1])); ok {
				return i, num, end
			}
		}
		i += len(m.text)
	}
}
