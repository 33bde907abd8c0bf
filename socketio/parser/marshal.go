package parser

import (
	"bytes"
	"crypto/rand"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
)

// Encoding arguments by reflection, the counterpart of bind.go.

var (
	valueType           = reflect.TypeFor[Value]()
	argsType            = reflect.TypeFor[Args]()
	rawType             = reflect.TypeFor[json.RawMessage]()
	marshalerType       = reflect.TypeFor[json.Marshaler]()
	textMarshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
	unmarshalerType     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

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

var (
	bindMark    = newMark()
	marshalMark = newMark()
)

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

// carriers caches, for each type that has been encoded, whether a value of it can have binary inside.
var carriers sync.Map // reflect.Type to bool

// carries reports whether binary can be inside a value of type t. It says yes of a type of which
// only the pointer marshals itself.
func carries(t reflect.Type) bool {
	if c, ok := carriers.Load(t); ok {
		return c.(bool)
	}
	c := findCarrier(t, map[reflect.Type]bool{})
	carriers.Store(t, c)
	return c
}

func findCarrier(t reflect.Type, seen map[reflect.Type]bool) bool {
	if received(t) || t.Kind() == reflect.Interface {
		return true
	}
	if seen[t] || marshalsItself(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Slice:
		return isBytes(t) || findCarrier(t.Elem(), seen)
	case reflect.Array, reflect.Pointer, reflect.Map:
		return findCarrier(t.Elem(), seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if encoded(f) && findCarrier(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

func marshalsItself(t reflect.Type) bool {
	return t.Implements(marshalerType) || t.Implements(textMarshalerType)
}

// isBytes reports whether encoding/json would write a value of type t as a base64 string.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !marshalsItself(reflect.PointerTo(t.Elem()))
}

// encoded reports whether encoding/json looks at the field or, if it is embedded, into it.
func encoded(f reflect.StructField) bool {
	if f.Tag.Get("json") == "-" {
		return false
	}
	if f.IsExported() {
		return true
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return f.Anonymous && t.Kind() == reflect.Struct
}

// received reports whether t is one of the types that carry text with placeholders.
func received(t reflect.Type) bool { return t == valueType || t == argsType }

// opaque reports whether encoding/json leaves it to x how it is encoded.
func opaque(x reflect.Value) bool {
	t := x.Type()
	return !received(t) && t.Kind() != reflect.Interface && (marshalsItself(t) || x.CanAddr() && marshalsItself(reflect.PointerTo(t)))
}

// reflect appends a value of any type.
func (e *encoder) reflect(v any) error {
	x := reflect.ValueOf(v)
	if !carries(x.Type()) {
		return e.marshal(v)
	}
	found, err := hasBinary(x, 0)
	if err != nil {
		return err
	}
	if !found {
		return e.marshal(v)
	}
	var m marker
	c := reflect.New(x.Type()).Elem()
	if err := m.copy(c, x); err != nil {
		return err
	}
	start := len(e.text)
	if err := e.marshal(c.Interface()); err != nil {
		return err
	}
	e.unmark(start, m.binary)
	return nil
}

// unmark replaces the marks in the text from start on by placeholders, in the order in which they
// appear, and collects the attachments.
func (e *encoder) unmark(start int, binary [][]byte) {
	marked := bytes.Clone(e.text[start:])
	e.text = e.text[:start]
	moved := make([]int, len(binary)) // where number k went, plus one
	for i := 0; i < len(marked); {
		at, num, end := marshalMark.next(marked, i)
		e.text = append(e.text, marked[i:at]...)
		if at < len(marked) {
			if moved[num] == 0 {
				e.attachments = append(e.attachments, binary[num])
				moved[num] = len(e.attachments)
			}
			e.text = appendPlaceholder(e.text, moved[num]-1)
		}
		i = end
	}
}

// jsonWriter is an encoder of encoding/json that appends to a slice.
type jsonWriter struct {
	text []byte
	json *json.Encoder
}

func (w *jsonWriter) Write(p []byte) (int, error) {
	w.text = append(w.text, p...)
	return len(p), nil
}

var jsonWriters = sync.Pool{New: func() any {
	w := &jsonWriter{}
	w.json = json.NewEncoder(w)
	w.json.SetEscapeHTML(false)
	return w
}}

// marshal appends what encoding/json makes of v.
func (e *encoder) marshal(v any) error {
	w := jsonWriters.Get().(*jsonWriter)
	start := len(e.text)
	w.text = e.text
	err := w.json.Encode(v)
	text := w.text
	w.text = nil
	jsonWriters.Put(w)
	if err != nil {
		return err
	}
	e.text = text[:len(text)-1] // without the line break
	e.repair(start)
	return nil
}

// hasBinary reports whether there is binary in x. It returns an error for a cycle.
func hasBinary(x reflect.Value, depth int) (bool, error) {
	if depth > maxEncodeDepth {
		return false, errDepth
	}
	if !x.IsValid() || !carries(x.Type()) || opaque(x) {
		return false, nil
	}
	if received(x.Type()) {
		data, attachments := x.Field(0).Bytes(), x.Field(1).Len()
		start, _, _ := nextPlaceholder(data, 0, attachments)
		return start < len(data), nil
	}
	switch x.Kind() {
	case reflect.Interface, reflect.Pointer:
		return hasBinary(x.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		if isBytes(x.Type()) {
			return !x.IsNil(), nil
		}
		for i := range x.Len() {
			if found, err := hasBinary(x.Index(i), depth+1); found || err != nil {
				return found, err
			}
		}
	case reflect.Map:
		for entries := x.MapRange(); entries.Next(); {
			if found, err := hasBinary(entries.Value(), depth+1); found || err != nil {
				return found, err
			}
		}
	case reflect.Struct:
		for f, field := range x.Fields() {
			if !encoded(f) {
				continue
			}
			if found, err := hasBinary(field, depth+1); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// marker copies values, with marks in place of binary.
type marker struct {
	binary [][]byte
}

func (m *marker) add(b []byte) (num int) {
	m.binary = append(m.binary, b)
	return len(m.binary) - 1
}

var errEmbedded = errors.New("a struct with binary cannot embed a pointer to an unexported struct")

// copy stores in dst what encoding/json is to see of src. It shares with src what has no binary in
// it, and never reads a field that encoding/json would not read: it may be in use elsewhere. There
// are no cycles: hasBinary would have stopped at one.
func (m *marker) copy(dst, src reflect.Value) error {
	t := src.Type()
	if !carries(t) || opaque(src) {
		dst.Set(src)
		return nil
	}
	if received(t) {
		text := m.text(src.Field(0).Bytes(), src.Field(1).Interface().([][]byte))
		dst.Field(0).SetBytes(text)
		return nil
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.Interface, reflect.Pointer:
		if src.IsNil() {
			return nil
		}
	}
	switch t.Kind() {
	case reflect.Interface:
		c := reflect.New(src.Elem().Type()).Elem()
		if err := m.copy(c, src.Elem()); err != nil {
			return err
		}
		dst.Set(c)
	case reflect.Pointer:
		dst.Set(reflect.New(t.Elem()))
		return m.copy(dst.Elem(), src.Elem())
	case reflect.Slice:
		if isBytes(t) {
			dst.SetBytes(marshalMark.bytes(m.add(src.Bytes())))
			return nil
		}
		dst.Set(reflect.MakeSlice(t, src.Len(), src.Len()))
		fallthrough
	case reflect.Array:
		for i := range src.Len() {
			if err := m.copy(dst.Index(i), src.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		dst.Set(reflect.MakeMapWithSize(t, src.Len()))
		for entries := src.MapRange(); entries.Next(); {
			c := reflect.New(t.Elem()).Elem()
			if err := m.copy(c, entries.Value()); err != nil {
				return err
			}
			dst.SetMapIndex(entries.Key(), c)
		}
	case reflect.Struct:
		return m.fields(dst, src)
	}
	return nil
}

func (m *marker) fields(dst, src reflect.Value) error {
	for i := range src.NumField() {
		f := src.Type().Field(i)
		from, to := src.Field(i), dst.Field(i)
		var err error
		switch {
		case !encoded(f):
		case !f.IsExported() && f.Type.Kind() == reflect.Struct:
			err = m.fields(to, from)
		case !f.IsExported():
			if !from.IsNil() {
				err = errEmbedded
			}
		case isBytes(f.Type) && from.Len() == 0 && omitsEmpty(f):
		default:
			err = m.copy(to, from)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func omitsEmpty(f reflect.StructField) bool {
	_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	for option := range strings.SplitSeq(options, ",") {
		if option == "omitempty" {
			return true
		}
	}
	return false
}

// text returns received text with marks in place of placeholders.
func (m *marker) text(data []byte, attachments [][]byte) (text []byte) {
	first := len(m.binary)
	m.binary = append(m.binary, attachments...)
	for i := 0; i < len(data); {
		start, num, end := nextPlaceholder(data, i, len(attachments))
		text = append(text, data[i:start]...)
		if start < len(data) {
			text = marshalMark.appendQuoted(text, first+num)
		}
		i = end
	}
	return text
}
