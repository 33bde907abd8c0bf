package parser

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"unicode/utf8"
)

// checkDecoded checks conditions that every packet from a Decoder must meet.
func checkDecoded(t *testing.T, p *Packet) {
	t.Helper()
	if p.Type > ConnectError || p.Namespace == "" || !utf8.ValidString(p.Namespace) || p.Data != nil && !Valid(p.Data) {
		t.Fatalf("bad packet %+v", *p)
	}
	name, rest, ok := EventName(p.Data)
	if ok && p.Type == Event && reserved(name) {
		t.Fatalf("reserved name %q", name)
	}
	if !ok && rest != nil {
		t.Fatal("rest without a name")
	}
	if p.Type == Event || p.Type == Ack {
		a := p.Args()
		n := a.Len()
		if n > 0 && a.At(n-1).Data == nil || a.At(n).Data != nil {
			t.Fatalf("%d arguments in %s", n, p.Data)
		}
		text, attachments, err := AppendArgs(nil, nil, a.Values()...)
		if err != nil || !Valid(text) || p.Attachments == nil && attachments != nil {
			t.Fatalf("%s passed on as %s: %v", p.Data, text, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	var cases []struct {
		In []any `json:"in"`
	}
	b, err := os.ReadFile("testdata/decode.json")
	if err == nil {
		err = json.Unmarshal(b, &cases)
	}
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		if text, ok := c.In[0].(string); ok {
			f.Add([]byte(text), []byte{1})
		}
	}
	f.Fuzz(func(t *testing.T, text, attachment []byte) {
		d := Default.NewDecoder()
		var p Packet
		complete, err := d.Add(&p, text, false)
		for i := 0; err == nil && !complete; i++ {
			if i == defaultMaxAttachments {
				t.Fatal("too many attachments wanted")
			}
			complete, err = d.Add(&p, attachment, true)
		}
		if err != nil {
			if e, ok := err.(*SyntaxError); !ok || e.Offset > len(text) {
				t.Fatalf("error %v", err)
			}
			return
		}
		checkDecoded(t, &p)

		// The packet survives a round trip on both wires.
		encoded, binary, err := Default.Encode(nil, &p)
		if err != nil {
			t.Fatal(err)
		}
		var q Packet
		d = Default.NewDecoder()
		complete, err = d.Add(&q, encoded, false)
		for _, b := range binary {
			if complete, err = d.Add(&q, b, true); err != nil {
				break
			}
		}
		if !complete || err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v came back as %+v: %v", p, q, err)
		}
		m := NewMessagePack(nil)
		if _, binary, err = m.Encode(nil, &p); err != nil {
			t.Fatal(err)
		}
		if _, err := m.NewDecoder().Add(&q, binary[0], true); err == nil {
			checkDecoded(t, &q)
		} else if p.Type != ConnectError && !bytes.Contains(p.Data, []byte("99")) {
			// A CONNECT_ERROR may lack its data, and numbers too large for a float may be names.
			t.Fatalf("%+v as %x: %v", p, binary[0], err)
		}
	})
}

// FuzzRewrite compares relayed arguments with received ones: they have the same meaning and are written as JavaScript does.
func FuzzRewrite(f *testing.F) {
	for _, s := range []string{
		`[1.0,1e2,-0,1e400,12345678901234567890,{"b":1,"1":2,"b":3},"\u0041\/"]`, "{ \"a\" :\t[ 1 ,\n2 ] }", `{"a":` + ph0 + `,"a":` + ph1 + `}`,
		`[{ "_placeholder":true,"num":0},{"_placeholder":true,"num":1.0},{"\u005fplaceholder":true,"num":9}]`, `["\ud83d","\uDE00\ud83d\ude00"]`,
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, binary bool) {
		if !Valid(data) {
			return
		}
		v := Value{Data: data}
		if binary {
			v.Attachments = [][]byte{[]byte("zero"), []byte("one")}
		}
		text, attachments, err := AppendArgs(nil, nil, v)
		if err != nil || !Valid(text) {
			t.Fatalf("%s is passed on as %s: %v", data, text, err)
		}
		again, _, err := AppendArgs(nil, nil, Args{Data: text, Attachments: attachments}.Values()...)
		if err != nil || !binary && string(again) != string(text) {
			t.Fatalf("%s is passed on as %s, and then as %s: %v", data, text, again, err)
		}
		var got, want any
		if err := v.Bind(&want); err != nil {
			return // a number that is too large has become null
		}
		if err := (Args{Data: text, Attachments: attachments}).Bind(&got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is passed on as %s: %v, %v, want %v", data, text, got, err, want)
		}
	})
}

func FuzzBind(f *testing.F) {
	for _, s := range []string{
		`["a",1,null,true,{"any":[` + ph0 + `]}]`, `[{"data":` + ph0 + `,"Next":{"value":` + ph1 + `,"raw":` + ph1 + `}}]`,
		`["x",-1.5e10,"\ud83d\ude00"]`, `[[[[[` + ph1 + `]]]],{"":{"":{}}}]`, `[` + ph0 + `]`, `[1e999]`, `[ ]`, `[{"Text":` + ph0 + `}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !Valid(data) || data[0] != '[' {
			return
		}
		attachments := [][]byte{[]byte("zero"), []byte("one")}
		a := Args{Data: data, Attachments: attachments}
		for i := range a.Len() {
			v := a.At(i)
			for _, dst := range []any{new(string), new(int), new(float64), new(bool), new([]byte), new(mixed), new([]any), new(map[string]any), new(Value), new(json.RawMessage), new(tree)} {
				_ = v.Bind(dst)
				if text, err := json.Marshal(dst); err == nil && bytes.Contains(text, bindMark.text[1:]) {
					t.Fatalf("%s leaves a mark in %T", v, dst)
				}
			}
			var got, want any
			gotErr, wantErr := v.Bind(&got), json.Unmarshal(v.Data, &want)
			if (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("%s: %v, but encoding/json: %v", v, gotErr, wantErr)
			}
			if start, _, _ := nextPlaceholder(v.Data, 0, len(attachments)); start == len(v.Data) && !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %v, but encoding/json: %v", v, got, want)
			}
			for _, dst := range []any{new(string), new(int), new(uint64), new(float64), new(bool)} {
				same := reflect.New(reflect.TypeOf(dst).Elem()).Interface()
				gotErr, wantErr := v.Bind(dst), json.Unmarshal(v.Data, same)
				if (gotErr == nil) != (wantErr == nil) || !reflect.DeepEqual(dst, same) {
					t.Fatalf("%s into %T: %v, %v, but encoding/json: %v, %v", v, dst, reflect.ValueOf(dst).Elem(), gotErr, reflect.ValueOf(same).Elem(), wantErr)
				}
			}
		}
	})
}

func FuzzAppendArgs(f *testing.F) {
	f.Add("text", []byte{1}, 1.5, 7)
	f.Add("\xff\u2028\"\\<", []byte{}, 1e-7, -1)
	f.Add("", []byte(nil), 1e21, 1<<30)
	f.Fuzz(func(t *testing.T, s string, b []byte, number float64, i int) {
		args := []any{
			s, b, number, i, []any{s, b}, map[string]any{s: b, "n": number},
			&mixed{inner: inner{b}, Any: []any{b, s}, List: [][]byte{b, b}, Map: map[string][]byte{s: b}, Text: s},
		}
		text, attachments, err := AppendEvent(nil, nil, "e", args...)
		if err != nil {
			if number-number == 0 {
				t.Fatal(err)
			}
			return
		}
		encoded, binary, err := Default.Encode(nil, &Packet{Type: Event, Namespace: "/n", Data: text, Attachments: attachments})
		if err != nil {
			t.Fatal(err)
		}
		d := New(&Options{MaxAttachments: 100}).NewDecoder()
		var p Packet
		complete, err := d.Add(&p, encoded, false)
		for _, b := range binary {
			if complete, err = d.Add(&p, b, true); err != nil {
				break
			}
		}
		if !complete || err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		var (
			s2 string
			b2 []byte
			n2 float64
			i2 int
			l2 []any
			m2 map[string]any
			x2 mixed
		)
		if err := p.Args().Bind(&s2, &b2, &n2, &i2, &l2, &m2, &x2); err != nil {
			t.Fatal(err)
		}
		valid := string(bytes.ToValidUTF8([]byte(s), []byte("\uFFFD")))
		if utf8.ValidString(s) && (s2 != s || x2.Text != s || !bytes.Equal(m2bytes(m2[s]), b) && s != "n") || n2 != number || i2 != i ||
			!bytes.Equal(b2, b) || !bytes.Equal(x2.Data, b) || !bytes.Equal(m2bytes(l2[1]), b) || len(x2.List) != 2 || len(valid) > 0 && s2 == "" {
			t.Fatalf("%s came back as %q %v %v %v %v %v %+v", text, s2, b2, n2, i2, l2, m2, x2)
		}
	})
}

func m2bytes(v any) []byte {
	b, _ := v.([]byte)
	return b
}

func FuzzMessagePack(f *testing.F) {
	var cases []struct {
		In string `json:"in"`
	}
	b, err := os.ReadFile("testdata/msgpack.json")
	if err == nil {
		err = json.Unmarshal(b, &cases)
	}
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		b, err := hex.DecodeString(c.In)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	m := NewMessagePack(nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Packet
		if _, err := m.NewDecoder().Add(&p, data, true); err != nil {
			if e, ok := err.(*SyntaxError); !ok || e.Offset > len(data) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if !utf8.ValidString(p.Namespace) || p.Data != nil && (!json.Valid(p.Data) || !utf8.Valid(p.Data)) {
			t.Fatalf("bad packet %+v", p)
		}
		checkDecoded(t, &p)
		// Once converted, a packet stays the same.
		if p.Type > Ack || p.Type == Connect && p.Attachments != nil {
			return
		}
		_, binary, err := m.Encode(nil, &p)
		if err != nil {
			t.Fatal(err)
		}
		var q Packet
		if _, err := m.NewDecoder().Add(&q, binary[0], true); err != nil || p.Type != q.Type || p.ID != q.ID || p.Namespace != q.Namespace || len(p.Attachments) != len(q.Attachments) {
			t.Fatalf("%+v came back as %+v: %v", p, q, err)
		}
	})
}
