package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

type namedBytes []byte

type octet byte

// shy marshals itself only behind a pointer.
type shy struct{ B []byte }

func (*shy) MarshalJSON() ([]byte, error) { return []byte(`"shy"`), nil }

// digest is binary with a text of its own.
type digest []byte

func (d digest) MarshalText() ([]byte, error) { return []byte("digest"), nil }

type failing struct{}

var errFailing = errors.New("cannot be encoded")

func (failing) MarshalJSON() ([]byte, error) { return nil, errFailing }

type broken struct{}

func (broken) MarshalJSON() ([]byte, error) { return []byte("\"\xff\""), nil }

type inner struct {
	Data []byte `json:"data"`
}

type Outer struct {
	inner
	*Pointer
	Name   string
	Empty  []byte `json:"empty,omitempty"`
	Set    []byte `json:"set"`
	Hidden []byte `json:"-"`
	//lint:ignore SA5008 encoding/json gives the field the name "-", and so must this package
	Dash   []byte `json:"-,"`
	Zero   []byte `json:"zero,omitzero"`
	hidden []byte
}

type Pointer struct {
	P []byte `json:"p"`
}

type tree struct {
	Left, Right *tree
	Data        any
}

type numbers struct {
	A int     `json:"a"`
	F float64 `json:"f,string"`
}

type embedsPointer struct {
	*inner
	B []byte
}

func TestAppendArgs(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	ph := func(k string) string { return `{"_placeholder":true,"num":` + k + `}` }
	received := Value{Data: b(`{"x":` + ph("1") + `,"y":[` + ph("0") + `,` + ph("1") + `]}`), Attachments: [][]byte{b("zero"), b("one"), b("unused")}}
	for _, c := range []struct {
		name        string
		arg         any
		text        string // without the brackets
		attachments []string
	}{
		{"nil", nil, `null`, nil},
		{"string", `a"b\c</script>&é😀` + "\u2028\x00\x1f\x7f\b\f\n\r\t", `"a\"b\\c</script>&é😀` + "\u2028" + `\u0000\u001f` + "\x7f" + `\b\f\n\r\t"`, nil},
		{"invalid UTF-8", "a\xffb\xc3", `"a` + "\uFFFDb\uFFFD" + `"`, nil},
		{"long string", strings.Repeat("x", 100) + `"` + strings.Repeat("y", 9), `"` + strings.Repeat("x", 100) + `\"` + strings.Repeat("y", 9) + `"`, nil},
		{"true", true, `true`, nil},
		{"false", false, `false`, nil},
		{"int", -5, `-5`, nil},
		{"int8", int8(-128), `-128`, nil},
		{"int16", int16(7), `7`, nil},
		{"int32", int32(7), `7`, nil},
		{"int64", int64(math.MinInt64), `-9223372036854775808`, nil},
		{"uint", uint(7), `7`, nil},
		{"uint8", uint8(7), `7`, nil},
		{"uint16", uint16(7), `7`, nil},
		{"uint32", uint32(7), `7`, nil},
		{"uint64", uint64(math.MaxUint64), `18446744073709551615`, nil},
		{"float", 1.5, `1.5`, nil},
		{"whole float", 1.0, `1`, nil},
		{"-0", math.Copysign(0, -1), `0`, nil},
		{"1e21", 1e21, `1e+21`, nil},
		{"1e20", 1e20, `100000000000000000000`, nil},
		{"1e-6", 1e-6, `0.000001`, nil},
		{"1e-7", 1e-7, `1e-7`, nil},
		{"1e-100", 1e-100, `1e-100`, nil},
		{"float32", float32(0.1), `0.1`, nil},
		{"binary", b("abc"), ph("0"), []string{"abc"}},
		{"empty binary", b(""), ph("0"), []string{""}},
		{"nil binary", []byte(nil), `null`, nil},
		{"named binary", namedBytes("abc"), ph("0"), []string{"abc"}},
		{"named bytes", []octet{1, 2}, ph("0"), []string{"\x01\x02"}},
		{"binary with a text", digest("abc"), `"digest"`, nil},
		{"byte array", [2]byte{1, 2}, `[1,2]`, nil},
		{"pointer to binary", new([]byte), `null`, nil},
		{"raw", json.RawMessage(` {"a": "<é>"} `), `{"a": "<é>"}`, nil},
		{"raw invalid UTF-8", json.RawMessage("\"\xff\""), "\"\uFFFD\"", nil},
		{"nil raw", json.RawMessage(nil), `null`, nil},
		{"value", received, `{"x":` + ph("0") + `,"y":[` + ph("1") + `,` + ph("0") + `]}`, []string{"one", "zero"}},
		{"value without attachments", Value{Data: b(`{"a":` + ph("0") + `}`)}, `{"a":` + ph("0") + `}`, nil},
		{"value without white space", Value{Data: b("{ \"a \\\" b\" :\t[ 1 ,\n2 ] }")}, `{"a \" b":[1,2]}`, nil},
		{"no value", Value{}, `null`, nil},
		{"value with many attachments", Value{Data: b(`[` + ph("19") + `,` + ph("3") + `,` + ph("20") + `]`), Attachments: make([][]byte, 20)}, `[` + ph("0") + `,` + ph("1") + `,` + ph("20") + `]`, []string{"", ""}},
		{"list", []any{1, "a", b("x"), []any{}, nil}, `[1,"a",` + ph("0") + `,[],null]`, []string{"x"}},
		{"nil list", []any(nil), `null`, nil},
		{"strings", []string{"a", "<b>"}, `["a","<b>"]`, nil},
		{"nil strings", []string(nil), `null`, nil},
		{"object", map[string]any{"b": b("1"), "a": b("0"), "<": 1}, `{"<":1,"a":` + ph("0") + `,"b":` + ph("1") + `}`, []string{"0", "1"}},
		{"nil object", map[string]any(nil), `null`, nil},
		{"struct", numbers{A: 1, F: 2.5}, `{"a":1,"f":"2.5"}`, nil},
		{"HTML in a struct", struct{ S string }{"<é>&"}, `{"S":"<é>&"}`, nil},
		{"struct with binary", &Outer{inner: inner{b("1")}, Name: "n", Set: b("2"), Hidden: b("h"), Dash: b("3"), Zero: b(""), hidden: b("h")},
			`{"data":` + ph("0") + `,"Name":"n","set":` + ph("1") + `,"-":` + ph("2") + `,"zero":` + ph("3") + `}`, []string{"1", "2", "3", ""}},
		{"struct with empty binary", Outer{Empty: b(""), Pointer: &Pointer{b("p")}}, `{"data":null,"p":` + ph("0") + `,"Name":"","set":null,"-":null}`, []string{"p"}},
		{"map of structs", map[string]inner{"b": {b("1")}, "a": {b("0")}}, `{"a":{"data":` + ph("0") + `},"b":{"data":` + ph("1") + `}}`, []string{"0", "1"}},
		{"map by number", map[int][]byte{10: b("1"), 9: b("0")}, `{"10":` + ph("0") + `,"9":` + ph("1") + `}`, []string{"1", "0"}},
		{"list of binary", [][]byte{b("0"), nil, b("1")}, `[` + ph("0") + `,null,` + ph("1") + `]`, []string{"0", "1"}},
		{"array of binary", [2][]byte{b("0"), b("1")}, `[` + ph("0") + `,` + ph("1") + `]`, []string{"0", "1"}},
		{"tree", &tree{Left: &tree{Data: b("l")}, Data: []inner{{b("d")}}}, `{"Left":{"Left":null,"Right":null,"Data":` + ph("0") + `},"Right":null,"Data":[{"data":` + ph("1") + `}]}`, []string{"l", "d"}},
		{"tree without binary", &tree{Left: &tree{Data: "<"}}, `{"Left":{"Left":null,"Right":null,"Data":"<"},"Right":null,"Data":null}`, nil},
		{"value in a struct", struct{ V, W Value }{received, Value{}}, `{"V":{"x":` + ph("0") + `,"y":[` + ph("1") + `,` + ph("0") + `]},"W":null}`, []string{"one", "zero"}},
		{"marshaler", netip.MustParseAddr("192.0.2.1"), `"192.0.2.1"`, nil},
		{"marshaler with invalid UTF-8", broken{}, "\"\uFFFD\"", nil},
		{"pointer marshaler behind a pointer", struct{ S *shy }{&shy{b("1")}}, `{"S":"shy"}`, nil},
		{"pointer marshaler as a value", shy{b("1")}, `{"B":` + ph("0") + `}`, []string{"1"}},
		{"pointer marshaler that can be addressed", []shy{{b("1")}}, `["shy"]`, nil},
		{"interface in a map", map[string]json.Marshaler{"a": &shy{b("1")}}, `{"a":"shy"}`, nil},
		{"embedded pointer", embedsPointer{inner: &inner{b("0")}, B: b("1")}, `{"data":` + ph("0") + `,"B":` + ph("1") + `}`, []string{"0", "1"}},
		{"embedded nil pointer", embedsPointer{B: b("1")}, `{"B":` + ph("0") + `}`, []string{"1"}},
		{"arguments", Args{Data: b(`,1,"a"]`)}, `[1,"a"]`, nil},
		{"no arguments", Args{Data: b(`]`)}, `[]`, nil},
		{"arguments with binary", Args{Data: b(`[ ` + ph("1") + `]`), Attachments: received.Attachments}, `[` + ph("0") + `]`, []string{"one"}},
		{"several arguments", map[string]Args{"a": {Data: b(`,` + ph("1") + `,2]`), Attachments: received.Attachments}, "b": {}}, `{"a":[` + ph("0") + `,2],"b":[]}`, []string{"one"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, attachments, err := AppendArgs(nil, nil, c.arg)
			if err != nil {
				t.Fatal(err)
			}
			if want := "[" + c.text + "]"; string(text) != want {
				t.Errorf("text\n%s, want\n%s", text, want)
			}
			var got []string
			for _, a := range attachments {
				got = append(got, string(a))
			}
			if !reflect.DeepEqual(got, c.attachments) {
				t.Errorf("attachments %q, want %q", got, c.attachments)
			}
			if !Valid(text) {
				t.Errorf("not valid JSON: %q", text)
			}
		})
	}
}

func TestAppendSeveral(t *testing.T) {
	x, y := []byte("x"), []byte("y")
	text, attachments, err := AppendEvent([]byte("head"), [][]byte{{0}}, "na\"me", 1, x, &inner{y}, Value{Data: []byte(`{"_placeholder":true,"num":0}`), Attachments: [][]byte{x}})
	if err != nil {
		t.Fatal(err)
	}
	want := `head["na\"me",1,{"_placeholder":true,"num":1},{"data":{"_placeholder":true,"num":2}},{"_placeholder":true,"num":3}]`
	if string(text) != want || len(attachments) != 4 {
		t.Errorf("%s with %d attachments, want %s", text, len(attachments), want)
	}
	if &attachments[1][0] != &x[0] || &attachments[2][0] != &y[0] {
		t.Error("attachments are copies")
	}
	text, attachments, err = AppendArgs(nil, nil)
	if string(text) != "[]" || attachments != nil || err != nil {
		t.Error(string(text), attachments, err)
	}
	text, _, err = AppendEvent(nil, nil, "")
	if string(text) != `[""]` || err != nil {
		t.Error(string(text), err)
	}
}

func TestAppendArgsErrors(t *testing.T) {
	loop := map[string]any{}
	loop["loop"] = []any{loop}
	list := []any{nil}
	list[0] = list
	ring := &tree{}
	ring.Left, ring.Right = ring, ring
	binaryRing := &tree{Data: []byte{1}}
	binaryRing.Left = binaryRing
	for _, c := range []struct {
		name string
		arg  any
		want string
	}{
		{"NaN", math.NaN(), "NaN"},
		{"Inf", math.Inf(-1), "-Inf"},
		{"float32", float32(math.Inf(1)), "+Inf"},
		{"NaN inside", map[string]any{"a": []any{math.NaN()}}, "NaN"},
		{"NaN in a struct", struct{ F float64 }{math.NaN()}, "NaN"},
		{"channel", make(chan int), "chan int"},
		{"function", func() {}, "func()"},
		{"function inside", []any{func() {}}, "func()"},
		{"complex", 1i, "complex128"},
		{"map loop", loop, "contains itself"},
		{"list loop", list, "contains itself"},
		{"ring", ring, "contains itself"},
		{"ring with binary", binaryRing, "contains itself"},
		{"marshaler", failing{}, errFailing.Error()},
		{"marshaler beside binary", []any{[]byte{1}, failing{}}, errFailing.Error()},
		{"marshaler in a struct with binary", struct {
			B []byte
			F failing
		}{[]byte{1}, failing{}}, errFailing.Error()},
		{"raw", json.RawMessage(`{"a"`), "not valid JSON"},
		{"two raws", json.RawMessage(`1 2`), "not valid JSON"},
		{"empty raw", json.RawMessage{}, "not valid JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, attachments, err := AppendArgs(nil, nil, 0, c.arg)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "parser: argument 1: ") {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if text != nil || attachments != nil {
				t.Error("results with an error")
			}
		})
	}
	if _, _, err := AppendEvent(nil, nil, "a", failing{}); !errors.Is(err, errFailing) {
		t.Error(err)
	}
}

// Encoding neither writes to the caller's data nor keeps a changed copy of it.
func TestAppendArgsLeavesValues(t *testing.T) {
	make := func() []any {
		return []any{
			&Outer{inner: inner{[]byte("1")}, Set: []byte("2"), Pointer: &Pointer{[]byte("3")}},
			map[string]any{"a": []any{[]byte("4"), map[string][]byte{"b": []byte("5")}}},
			Value{Data: []byte(`[{"_placeholder":true,"num":0}]`), Attachments: [][]byte{[]byte("6")}},
			&tree{Left: &tree{Data: []byte("7")}},
		}
	}
	values := make()
	if _, _, err := AppendArgs(nil, nil, values...); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(values, make()) {
		t.Errorf("%+v", values)
	}
}

func TestEncodeErrors(t *testing.T) {
	for _, p := range []Packet{
		{Type: BinaryEvent},
		{Type: BinaryAck},
		{Type: 7},
		{Type: Connect, Attachments: [][]byte{{1}}},
		{Type: ConnectError, Attachments: [][]byte{{1}}},
	} {
		for _, parser := range []Parser{Default, NewMessagePack(nil)} {
			if text, binary, err := parser.Encode(nil, &p); err == nil || text != nil || binary != nil {
				t.Errorf("%v: %s %v %v", p.Type, text, binary, err)
			}
		}
	}
	text, binary, err := Default.Encode(nil, &Packet{Type: Event, Data: []byte(`["a"]`)})
	if string(text) != `2["a"]` || binary != nil || err != nil {
		t.Errorf("empty namespace: %s %v %v", text, binary, err)
	}
}

func TestStringsLikeEncodingJSON(t *testing.T) {
	for r := rune(0); r < 0x3000; r++ {
		s := "abcdefg" + string(r) + "h"
		got := jsontext.AppendString(nil, s)
		if viaBytes := jsontext.AppendString(nil, []byte(s)); !bytes.Equal(got, viaBytes) {
			t.Fatalf("%q: %s and %s", s, got, viaBytes)
		}
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != s {
			t.Fatalf("%q: %s, %v", s, got, err)
		}
		if end, _, ok := jsontext.Check(got, 0, 1); !ok || end != len(got) {
			t.Fatalf("%s is refused", got)
		}
	}
}
