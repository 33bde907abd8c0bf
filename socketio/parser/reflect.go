package parser

import (
	"cmp"
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

// Encoding arguments by reflection, the counterpart of bind.go. It follows the rules of encoding/json, except for binary,
// times and received values. Types with their own marshaler are left to encoding/json.

var (
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	zeroerType        = reflect.TypeFor[zeroer]()
)

type zeroer interface{ IsZero() bool }

// kind says how values of a type are encoded.
type kind struct {
	how    how
	elem   *kind   // of a pointer, list or map
	fields []field // of a struct

	// addressed reports whether only a pointer to the type marshals itself: so does a value that can be addressed.
	addressed bool
}

type how uint8

const (
	byJSON how = iota // encoding/json encodes it
	byKind            // according to its reflect.Kind
	asBinary
	asTime
	asValue
	asArgs
)

// special has the types that are not encoded as they marshal themselves.
var special = map[reflect.Type]how{
	reflect.TypeFor[time.Time](): asTime,
	valueType:                    asValue,
	reflect.TypeFor[Args]():      asArgs,
}

// kinds has the kind of each type that has been encoded.
var kinds sync.Map // reflect.Type to *kind

func kindOf(t reflect.Type) *kind {
	if k, ok := kinds.Load(t); ok {
		return k.(*kind)
	}
	k, _ := kinds.LoadOrStore(t, make(study).kind(t))
	return k.(*kind)
}

// study finds the kind of a type and of all that it consists of, which may be the type itself.
type study map[reflect.Type]*kind

func (s study) kind(t reflect.Type) *kind {
	k := s[t]
	if k != nil {
		return k
	}
	k = &kind{how: special[t]}
	s[t] = k
	pointer := t.Kind() == reflect.Pointer
	if k.how != byJSON || t == reflect.TypeFor[json.Number]() ||
		marshalsItself(t) && t.Kind() != reflect.Interface && !(pointer && special[t.Elem()] != byJSON) {
		return k
	}
	k.how, k.addressed = byKind, marshalsItself(reflect.PointerTo(t))
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Pointer, reflect.Map:
		k.elem = s.kind(t.Elem())
		switch {
		case isBytes(t):
			k.how = asBinary
		case t.Kind() == reflect.Map && !isKey(t.Key()):
			k.how = byJSON
		}
	case reflect.Struct:
		k.fields = s.fields(t)
	}
	return k
}

func marshalsItself(t reflect.Type) bool {
	return t.Implements(marshalerType) || t.Implements(textMarshalerType)
}

// isBytes reports whether encoding/json would write a value of type t as a base64 string.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !marshalsItself(reflect.PointerTo(t.Elem()))
}

// isKey reports whether encoding/json makes names of the keys of a map.
func isKey(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() >= reflect.Int && t.Kind() <= reflect.Uintptr || t.Implements(textMarshalerType)
}

// reflect appends a value of any type.
func (e *encoder) reflect(x reflect.Value, k *kind) error {
	if k.addressed && x.CanAddr() {
		return e.marshal(x.Addr().Interface())
	}
	switch k.how {
	case byJSON:
		return e.marshal(x.Interface())
	case asBinary:
		e.binary(x.Bytes())
		return nil
	case asTime, asValue, asArgs:
		return e.value(x.Interface())
	}
	switch x.Kind() {
	case reflect.Bool:
		e.text = strconv.AppendBool(e.text, x.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.text = strconv.AppendInt(e.text, x.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.text = strconv.AppendUint(e.text, x.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		return e.float(x.Float(), x.Type().Bits())
	case reflect.String:
		e.text = jsontext.AppendString(e.text, x.String())
	case reflect.Interface, reflect.Pointer:
		return e.target(x, k)
	case reflect.Slice, reflect.Array:
		return e.elements(x, k)
	case reflect.Map:
		return e.entries(x, k)
	case reflect.Struct:
		return e.fields(x, k)
	default:
		return e.marshal(x.Interface())
	}
	return nil
}

// target appends the value of a pointer or interface.
func (e *encoder) target(x reflect.Value, k *kind) (err error) {
	hops := e.hops
	switch {
	case x.IsNil():
		e.null()
		return nil
	case hops == maxEncodeHops:
		return errDepth
	}
	e.hops++
	if x.Kind() == reflect.Interface {
		err = e.value(x.Elem().Interface())
	} else {
		err = e.reflect(x.Elem(), k.elem)
	}
	e.hops = hops
	return err
}

func (e *encoder) elements(x reflect.Value, k *kind) error {
	if x.Kind() == reflect.Slice && x.IsNil() {
		e.null()
		return nil
	}
	if err := e.open('['); err != nil {
		return err
	}
	for i := range x.Len() {
		e.comma()
		if err := e.reflect(x.Index(i), k.elem); err != nil {
			return err
		}
	}
	e.close(']')
	return nil
}

// entries appends a map with its keys in order.
func (e *encoder) entries(x reflect.Value, k *kind) error {
	if x.IsNil() {
		e.null()
		return nil
	}
	type entry struct {
		key   string
		value reflect.Value
	}
	entries := make([]entry, 0, x.Len())
	for m := x.MapRange(); m.Next(); {
		key, err := keyText(m.Key())
		if err != nil {
			return err
		}
		entries = append(entries, entry{key, m.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	if err := e.open('{'); err != nil {
		return err
	}
	for _, m := range entries {
		e.name(m.key)
		if err := e.reflect(m.value, k.elem); err != nil {
			return err
		}
	}
	e.close('}')
	return nil
}

func keyText(x reflect.Value) (string, error) {
	if x.Kind() == reflect.String {
		return x.String(), nil
	}
	if m, ok := x.Interface().(encoding.TextMarshaler); ok {
		if x.Kind() == reflect.Pointer && x.IsNil() {
			return "", nil
		}
		text, err := m.MarshalText()
		return string(text), err
	}
	if x.CanInt() {
		return strconv.FormatInt(x.Int(), 10), nil
	}
	return strconv.FormatUint(x.Uint(), 10), nil
}

func (e *encoder) fields(x reflect.Value, k *kind) error {
	if err := e.open('{'); err != nil {
		return err
	}
fields:
	for i := range k.fields {
		f, v := &k.fields[i], x
		for _, n := range f.path {
			if v.Kind() == reflect.Pointer { // an embedded struct
				if v.IsNil() {
					continue fields
				}
				v = v.Elem()
			}
			v = v.Field(n)
		}
		if f.omitEmpty && isEmpty(v) || f.omitZero && isZero(v) {
			continue
		}
		e.comma()
		e.text = append(e.text, f.name...)
		start := len(e.text)
		if err := e.reflect(v, f.kind); err != nil {
			return err
		}
		if f.quoted && e.text[start] != 'n' {
			text := string(e.text[start:])
			e.text = jsontext.AppendString(e.text[:start], text)
		}
	}
	e.close('}')
	return nil
}

func isEmpty(x reflect.Value) bool {
	switch x.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return x.Len() == 0
	}
	return x.Kind() != reflect.Struct && x.IsZero()
}

// isZero asks the method IsZero of x, if it has one.
func isZero(x reflect.Value) bool {
	kind := x.Kind()
	if x.Type().Implements(zeroerType) {
		if kind == reflect.Interface && !x.IsNil() {
			x = x.Elem()
		}
		if k := x.Kind(); (k == reflect.Pointer || k == reflect.Interface) && x.IsNil() {
			return true
		}
		return x.Interface().(zeroer).IsZero()
	}
	if kind != reflect.Interface && reflect.PointerTo(x.Type()).Implements(zeroerType) {
		p := reflect.New(x.Type())
		p.Elem().Set(x)
		return p.Interface().(zeroer).IsZero()
	}
	return x.IsZero()
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

// marshal appends the output of encoding/json for v.
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

// field is a member of the object that is made of a struct.
type field struct {
	name   []byte // as JSON, with the colon
	path   []int  // of fields, from the struct on
	kind   *kind
	key    string
	tagged bool // the key is from a tag

	omitEmpty, omitZero, quoted bool // its options; quoted is the one called "string"
}

// fields returns the members of the object that is made of a struct, in the order of the fields. Of several fields
// with the same name the one that is embedded least deep counts, and of several of those the one with a tag. If that
// does not decide it, none counts.
func (s study) fields(t reflect.Type) (members []field) {
	type embedded struct {
		path  []int
		count int // how often the struct is embedded at this depth: if more than once, its fields do not count
	}
	var all []field
	seen := map[reflect.Type]bool{}
	for level := map[reflect.Type]*embedded{t: {count: 1}}; len(level) > 0; {
		next := map[reflect.Type]*embedded{}
		for t := range level {
			seen[t] = true
		}
		for t, in := range level {
			for i := range t.NumField() {
				f := t.Field(i)
				if !encoded(f) {
					continue
				}
				path := append(slices.Clip(in.path), i)
				key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
				tagged := isName(key)
				target := f.Type
				if target.Kind() == reflect.Pointer && target.Name() == "" {
					target = target.Elem()
				}
				if f.Anonymous && !tagged && target.Kind() == reflect.Struct {
					if next[target] != nil {
						next[target].count++
					} else if !seen[target] {
						next[target] = &embedded{path, 1}
					}
					continue
				}
				if !tagged {
					key = f.Name
				}
				list := strings.Split(options, ",")
				m := field{
					name: append(jsontext.AppendString(nil, key), ':'), path: path, kind: s.kind(f.Type), key: key, tagged: tagged,
					omitEmpty: slices.Contains(list, "omitempty"), omitZero: slices.Contains(list, "omitzero"),
					quoted: slices.Contains(list, "string") && isScalar(target),
				}
				for range min(in.count, 2) {
					all = append(all, m)
				}
			}
		}
		level = next
	}
	slices.SortFunc(all, func(a, b field) int {
		return cmp.Or(strings.Compare(a.key, b.key), len(a.path)-len(b.path))
	})
	for len(all) > 0 {
		first := all[0]
		end := slices.IndexFunc(all, func(f field) bool { return f.key != first.key })
		if end < 0 {
			end = len(all)
		}
		same := slices.DeleteFunc(slices.Clone(all[:end]), func(f field) bool { return len(f.path) > len(first.path) })
		if len(same) > 1 {
			same = slices.DeleteFunc(same, func(f field) bool { return !f.tagged })
		}
		if len(same) == 1 {
			members = append(members, same[0])
		}
		all = all[end:]
	}
	slices.SortFunc(members, func(a, b field) int { return slices.Compare(a.path, b.path) })
	return members
}

// encoded reports whether encoding/json looks at the field or, if it is embedded, into it.
func encoded(f reflect.StructField) bool {
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return f.Tag.Get("json") != "-" && (f.IsExported() || f.Anonymous && t.Kind() == reflect.Struct)
}

// isName reports whether s, from a tag, is taken for a name.
func isName(s string) bool {
	for _, r := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return s != ""
}

func isScalar(t reflect.Type) bool {
	return t.Kind() >= reflect.Bool && t.Kind() <= reflect.Float64 || t.Kind() == reflect.String
}
