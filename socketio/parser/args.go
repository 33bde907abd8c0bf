package parser

import (
	"bytes"
	"fmt"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

// Args is a received list of arguments. The zero value is an empty list. As an argument of
// AppendArgs it is sent on as one array; Values returns the arguments one by one.
//
// Args and Values share memory with the packet. Values that Bind stores do not, except for
// attachments: two calls of Bind with one attachment store the same bytes.
type Args struct {
	// Data is a JSON array, or the rest of one as EventName returns it: `["a",1]`, or `,"a",1]`.
	Data []byte
	// Attachments are the binary parts that the placeholders in Data refer to.
	Attachments [][]byte
}

// Len returns the number of arguments. It takes time in proportion to the length of the text.
func (a Args) Len() int {
	n := 0
	for i := a.start(); i < len(a.Data); i = a.next(i) {
		n++
	}
	return n
}

// At returns argument i, counted from 0, or the zero Value if there are fewer.
func (a Args) At(i int) Value {
	at := a.start()
	for ; i > 0 && at < len(a.Data); i-- {
		at = a.next(at)
	}
	if i < 0 {
		at = len(a.Data)
	}
	return a.value(at)
}

// Values returns the arguments in a form that can be passed on: AppendArgs(dst, att, args.Values()...).
func (a Args) Values() []any {
	var values []any
	for i := a.start(); i < len(a.Data); i = a.next(i) {
		values = append(values, a.value(i))
	}
	return values
}

// Bind stores the arguments in the values that dst points to, one after the other, as Value.Bind
// does. A nil in dst skips an argument. Values without an argument are not changed, because
// JavaScript callers omit trailing arguments; Len reports how many there are. Further arguments are ignored.
func (a Args) Bind(dst ...any) error {
	i := a.start()
	for k, d := range dst {
		if i >= len(a.Data) {
			return nil
		}
		if d != nil {
			if err := a.value(i).bind(d); err != nil {
				return fmt.Errorf("parser: argument %d: %w", k, err)
			}
		}
		i = a.next(i)
	}
	return nil
}

// MarshalJSON returns the arguments as an array. Binary is left as placeholders.
func (a Args) MarshalJSON() ([]byte, error) {
	i := a.start()
	if i >= len(a.Data) {
		return []byte("[]"), nil
	}
	return append([]byte("["), a.Data[i:]...), nil
}

// start returns the index of the first argument, or one that is not less than len(a.Data).
func (a Args) start() int {
	if len(a.Data) == 0 {
		return 0
	}
	return a.element(1)
}

// next returns the index of the argument behind the one at i.
func (a Args) next(i int) int {
	return a.element(jsontext.SkipSpace(a.Data, jsontext.Skip(a.Data, i)) + 1)
}

// element returns the index of the argument at i, where there may be white space or nothing.
func (a Args) element(i int) int {
	if a.Data[0] == ']' {
		return len(a.Data)
	}
	if i = jsontext.SkipSpace(a.Data, i); i < len(a.Data) && a.Data[i] == ']' {
		return len(a.Data)
	}
	return i
}

func (a Args) value(i int) Value {
	if i >= len(a.Data) {
		return Value{}
	}
	end := jsontext.Skip(a.Data, i)
	return Value{Data: a.Data[i:end:end], Attachments: a.Attachments}
}

// Value is one received argument. The zero Value is an argument that was not sent. As an argument of AppendArgs it is
// sent on as a Node.js server does: with numbers and strings as JavaScript prints them, and without white space. Of
// members with the same name the last one is sent.
type Value struct {
	// Data is the JSON text of one value; nil if there is none.
	Data []byte
	// Attachments are the binary parts that the placeholders in Data refer to.
	Attachments [][]byte
}

// Binary returns the bytes if the value is an attachment.
func (v Value) Binary() (b []byte, ok bool) {
	num, end, ok := placeholderAt(v.Data, 0, len(v.Attachments))
	if !ok || end != len(v.Data) {
		return nil, false
	}
	return v.Attachments[num], true
}

// Bind stores v in the value that dst, a pointer that is not nil, points to. It follows
// json.Unmarshal, and stores attachments in values of type []byte at any depth; an empty interface
// gets binary as []byte. A struct field, map entry or element of type Value or json.RawMessage gets
// the received text, with placeholders, and a Value gets the attachments too. Types that unmarshal
// themselves do not get binary. A null does not change values other than pointers, slices, maps and
// interfaces. A Value without data changes nothing.
//
// The stored values belong to the caller, see Args. After an error dst may have been changed in part.
func (v Value) Bind(dst any) error {
	if err := v.bind(dst); err != nil {
		return fmt.Errorf("parser: %w", err)
	}
	return nil
}

// MarshalJSON returns the JSON text, or null if there is none. Binary is left as placeholders.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Data == nil {
		return []byte("null"), nil
	}
	return v.Data, nil
}

// UnmarshalJSON makes v a copy of the text. Bind gives such a Value inside a struct the attachments
// as well.
func (v *Value) UnmarshalJSON(data []byte) error {
	*v = Value{Data: bytes.Clone(data)}
	return nil
}

// String returns the JSON text.
func (v Value) String() string { return string(v.Data) }

// Clone returns a copy of v that shares no memory with the packet, apart from attachments.
func (v Value) Clone() Value {
	return Value{Data: bytes.Clone(v.Data), Attachments: v.Attachments}
}

// appendElement adds s to array, a JSON text that has elements and ends with its bracket. It writes over that bracket.
func appendElement(array []byte, s string) []byte {
	array[len(array)-1] = ','
	return append(jsontext.AppendString(array, s), ']')
}
