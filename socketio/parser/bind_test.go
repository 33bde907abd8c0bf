package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

const (
	ph0 = `{"_placeholder":true,"num":0}`
	ph1 = `{"_placeholder":true,"num":1}`
)

// own unmarshals itself.
type own struct{ text string }

func (o *own) UnmarshalJSON(b []byte) error {
	o.text = string(b)
	return nil
}

type mixed struct {
	inner
	Any    any             `json:"any"`
	Raw    json.RawMessage `json:"raw"`
	Value  Value           `json:"value"`
	Named  namedBytes      `json:"named"`
	List   [][]byte        `json:"list"`
	Map    map[string][]byte
	Struct map[string]inner
	Array  [2][]byte
	Next   *mixed
	Text   string
	Hidden []byte `json:"-"`
}

func TestBindValue(t *testing.T) {
	attachments := [][]byte{[]byte("zero"), []byte("one")}
	zero, one := attachments[0], attachments[1]
	seven := 7
	for _, c := range []struct {
		name string
		text string
		dst  any // pointer to the previous value
		want any
	}{
		{"string", `"a"`, new(string), "a"},
		{"escaped string", `"a\"\u00e9\ud83d\ude00\n"`, new(string), "a\"é😀\n"},
		{"null string", `null`, &[]string{"old"}[0], "old"},
		{"true", `true`, new(bool), true},
		{"false", `false`, &[]bool{true}[0], false},
		{"int", `-12`, new(int), -12},
		{"int64", `9007199254740993`, new(int64), int64(9007199254740993)},
		{"uint64", `18446744073709551615`, new(uint64), uint64(math.MaxUint64)},
		{"int8", `-128`, new(int8), int8(-128)},
		{"float", `1.5e3`, new(float64), 1500.0},
		{"float32", `0.1`, new(float32), float32(0.1)},
		{"null int", `null`, &[]int{3}[0], 3},
		{"raw", `{ "a": 1 }`, new(json.RawMessage), json.RawMessage(`{ "a": 1 }`)},
		{"binary", ph1, new([]byte), one},
		{"named binary", ph1, new(namedBytes), namedBytes(one)},
		{"null binary", `null`, &[][]byte{{1}}[0], []byte(nil)},
		{"base64", `"YWJj"`, new([]byte), []byte("abc")},
		{"value", `[` + ph0 + `]`, new(Value), Value{Data: []byte(`[` + ph0 + `]`), Attachments: attachments}},
		{"any binary", ph0, new(any), zero},
		{"any", `{"a":[1,"b",null,true,false,` + ph0 + `,[],{}],"\u0062":-1e2}`, new(any), map[string]any{"a": []any{1.0, "b", nil, true, false, zero, []any{}, map[string]any{}}, "b": -100.0}},
		{"any with space", "[ 1 , { \"a\" : [ ] , \"b\" : { } } ]", new(any), []any{1.0, map[string]any{"a": []any{}, "b": map[string]any{}}}},
		{"any null", `null`, &[]any{1}[0], nil},
		{"any with a pointer", `5`, &[]any{&seven}[0], nil}, // checked below
		{"list", `[1,` + ph1 + `]`, new([]any), []any{1.0, one}},
		{"object", `{"a":` + ph1 + `}`, new(map[string]any), map[string]any{"a": one}},
		{"pointer", ph1, new(*[]byte), &one},
		{"struct", `{"data":` + ph0 + `,"Text":"t"}`, new(mixed), mixed{inner: inner{zero}, Text: "t"}},
		{"everything", `{"any":{"x":[` + ph0 + `]},"raw":[` + ph1 + `,"` + ph0[2:3] + `"],"value":{"v":` + ph1 + `},"named":` + ph0 + `,"list":[` + ph0 + `,null,` + ph1 + `],"Map":{"m":` + ph1 + `},"Struct":{"s":{"data":` + ph0 + `}},"Array":[null,` + ph1 + `],"Next":{"data":` + ph1 + `}}`,
			new(mixed), mixed{
				Any:   map[string]any{"x": []any{zero}},
				Raw:   json.RawMessage(`[` + ph1 + `,"` + ph0[2:3] + `"]`),
				Value: Value{Data: []byte(`{"v":` + ph1 + `}`), Attachments: attachments},
				Named: namedBytes(zero),
				List:  [][]byte{zero, nil, one},
				Map:   map[string][]byte{"m": one}, Struct: map[string]inner{"s": {zero}},
				Array: [2][]byte{nil, one},
				Next:  &mixed{inner: inner{one}},
			}},
		{"twice", `[` + ph0 + `,` + ph0 + `]`, new([][]byte), [][]byte{zero, zero}},
		{"reused", `{"data":` + ph1 + `}`, &mixed{Text: "kept", Any: []any{"kept"}}, mixed{Text: "kept", Any: []any{"kept"}, inner: inner{one}}},
		{"placeholder without attachment", `{"a":{"_placeholder":true,"num":2}}`, new(any), map[string]any{"a": map[string]any{"_placeholder": true, "num": 2.0}}},
		{"number for binary", `[1,2]`, new([]byte), []byte{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !Valid([]byte(c.text)) {
				t.Fatal("test is wrong")
			}
			if err := (Value{Data: []byte(c.text), Attachments: attachments}).Bind(c.dst); err != nil {
				t.Fatal(err)
			}
			got := reflect.ValueOf(c.dst).Elem().Interface()
			if c.name == "any with a pointer" {
				if seven != 5 {
					t.Error("not stored behind the pointer")
				}
				return
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%#v, want %#v", got, c.want)
			}
		})
	}
	if string(zero) != "zero" || string(one) != "one" {
		t.Error("attachments have changed")
	}
}

func TestBindErrors(t *testing.T) {
	attachments := [][]byte{{1}}
	for _, c := range []struct {
		name, text string
		dst        any
		want       string
	}{
		{"string for int", `"a"`, new(int), "string into Go value of type int"},
		{"fraction for int", `1.5`, new(int), "1.5"},
		{"too large", `300`, new(int8), "300"},
		{"too large for any", `1e999`, new(any), "1e999"},
		{"too large inside any", `[{"a":1e999}]`, new(any), "1e999"},
		{"object for string", `{}`, new(string), "object"},
		{"number for bool", `1`, new(bool), "number"},
		{"bad base64", `"%"`, new([]byte), "base64"},
		{"binary for string", ph0, new(string), "binary cannot be stored in a string"},
		{"binary for string inside", `[{"Text":` + ph0 + `}]`, new([]mixed), "binary cannot be stored in a string"},
		{"binary for int", ph0, new(int), "into Go value of type int"},
		{"binary for bool", ph0, new(bool), "into Go value of type bool"},
		{"not a pointer", `1`, 1, "non-pointer"},
		{"nil pointer", `1`, (*int)(nil), "nil"},
		{"nil pointer for binary", ph0, (*[]byte)(nil), "nil"},
		{"nil any", ph0, (*any)(nil), "nil"},
		{"nil string", `"a"`, (*string)(nil), "nil"},
		{"nil bool", `true`, (*bool)(nil), "nil"},
		{"nil float", `1`, (*float64)(nil), "nil"},
		{"nil int64", `1`, (*int64)(nil), "nil"},
		{"nil uint64", `1`, (*uint64)(nil), "nil"},
		{"nil raw", `1`, (*json.RawMessage)(nil), "nil"},
		{"nil value", `1`, (*Value)(nil), "nil"},
		{"nil", `1`, nil, "nil"},
		{"channel", `1`, new(chan int), "chan int"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Value{Data: []byte(c.text), Attachments: attachments}.Bind(c.dst)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "parser: ") {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	var e *json.UnmarshalTypeError
	if err := (Value{Data: []byte(`"a"`)}).Bind(new(int)); !errors.As(err, &e) {
		t.Errorf("%T", err)
	}
	// Values that could be stored are there despite the error, and no mark is left.
	m := mixed{}
	err := Value{Data: []byte(`{"data":` + ph0 + `,"Text":5,"named":` + ph0 + `}`), Attachments: attachments}.Bind(&m)
	if err == nil || !bytes.Equal(m.Data, attachments[0]) {
		t.Errorf("%v %+v", err, m)
	}
	loop := &mixed{}
	loop.Next = loop
	if err := (Value{Data: []byte(`{"data":` + ph0 + `}`), Attachments: attachments}).Bind(loop); !errors.Is(err, errLoop) {
		t.Error(err)
	}
}

// A type that unmarshals itself gets JSON, whatever is in it.
func TestBindUnmarshaler(t *testing.T) {
	var o struct {
		Own own
		B   []byte
	}
	v := Value{Data: []byte(`{"Own":{"a":1},"B":` + ph0 + `}`), Attachments: [][]byte{{1}}}
	if err := v.Bind(&o); err != nil || o.Own.text != `{"a":1}` || !bytes.Equal(o.B, []byte{1}) {
		t.Errorf("%v %+v", err, o)
	}
}

func TestArgs(t *testing.T) {
	for _, c := range []struct {
		data string
		want []string
	}{
		{``, nil},
		{`[]`, nil},
		{`[ ]`, nil},
		{`]`, nil},
		{`[1]`, []string{"1"}},
		{`,1]`, []string{"1"}},
		{`[ "a,]" , [1,[2,"]"]] , {"x":{"y":"}"}} , null ]`, []string{`"a,]"`, `[1,[2,"]"]]`, `{"x":{"y":"}"}}`, "null"}},
		{`, -1.5e3 , true]`, []string{"-1.5e3", "true"}},
		{`["\\",""]`, []string{`"\\"`, `""`}},
	} {
		a := Args{Data: []byte(c.data)}
		if a.Len() != len(c.want) || len(a.Values()) != len(c.want) {
			t.Errorf("%s: %d and %d arguments, want %d", c.data, a.Len(), len(a.Values()), len(c.want))
			continue
		}
		for i, want := range c.want {
			if got := a.At(i).String(); got != want {
				t.Errorf("%s: argument %d is %s, want %s", c.data, i, got, want)
			}
			if got := a.Values()[i].(Value).String(); got != want {
				t.Errorf("%s: value %d is %s, want %s", c.data, i, got, want)
			}
		}
		for _, i := range []int{-1, len(c.want), len(c.want) + 1} {
			if v := a.At(i); v.Data != nil {
				t.Errorf("%s: argument %d is %s", c.data, i, v)
			}
		}
		if b, err := json.Marshal(a); err != nil || !sameJSON("3"+string(b), "3["+strings.Join(c.want, ",")+"]") {
			t.Errorf("%s: as JSON %s, %v", c.data, b, err)
		}
	}
}

func TestBind(t *testing.T) {
	p := decodeText(t, `2["move",3,"x",{"a":1}]`)
	var x int
	var s string
	m := map[string]int{}
	if err := p.Args().Bind(&x, &s, &m); err != nil || x != 3 || s != "x" || m["a"] != 1 {
		t.Error(err, x, s, m)
	}
	extra := 9
	if err := p.Args().Bind(nil, &s, nil, &extra); err != nil || s != "x" || extra != 9 {
		t.Error(err, s, extra)
	}
	if err := p.Args().Bind(); err != nil {
		t.Error(err)
	}
	err := p.Args().Bind(&x, &x)
	var e *json.UnmarshalTypeError
	if err == nil || !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "parser: argument 1: ") {
		t.Error(err)
	}
	ack := decodeText(t, `37[1,2]`)
	if n := ack.Args().Len(); n != 2 {
		t.Errorf("ack with %d arguments", n)
	}
	empty := decodeText(t, `2`)
	if n := empty.Args().Len(); n != 0 || empty.Args().Bind(&x) != nil {
		t.Errorf("empty event with %d arguments", n)
	}
	if err := (Value{}).Bind(&x); err != nil || x != 3 {
		t.Error(err, x)
	}
}

// Stored values do not change when the message does.
func TestBindOwnership(t *testing.T) {
	text := []byte(`["text",{"a":"b"},[1],{"c":"d"},{"e":"f"}]`)
	var (
		s   string
		x   any
		raw json.RawMessage
		v   Value
		m   map[string]string
	)
	if err := (Args{Data: text}).Bind(&s, &x, &raw, &v, &m); err != nil {
		t.Fatal(err)
	}
	for i := range text {
		text[i] = 'z'
	}
	if s != "text" || !reflect.DeepEqual(x, map[string]any{"a": "b"}) || string(raw) != "[1]" || v.String() != `{"c":"d"}` || m["e"] != "f" {
		t.Error(s, x, raw, v, m)
	}
}

func TestBinary(t *testing.T) {
	v := Value{Data: []byte(ph0), Attachments: [][]byte{{1}}}
	if b, ok := v.Binary(); !ok || !bytes.Equal(b, []byte{1}) {
		t.Error(b, ok)
	}
	for _, v := range []Value{{}, {Data: []byte(ph0)}, {Data: []byte(`[` + ph0 + `]`), Attachments: [][]byte{{1}}}, {Data: []byte(ph1), Attachments: [][]byte{{1}}}} {
		if b, ok := v.Binary(); ok {
			t.Errorf("%s: %v", v, b)
		}
	}
}

// A peer that sends placeholders as text gets no binary, and marks cannot be forged.
func TestPlaceholdersAreData(t *testing.T) {
	p := decodeText(t, `2["a",`+ph0+`]`)
	var m map[string]any
	if err := p.Args().Bind(&m); err != nil || m["_placeholder"] != true || m["num"] != 0.0 {
		t.Error(err, m)
	}
	text, attachments, err := AppendArgs(nil, nil, p.Args().Values()...)
	if string(text) != "["+ph0+"]" || attachments != nil || err != nil {
		t.Error(string(text), attachments, err)
	}
}
