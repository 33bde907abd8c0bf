package parser

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestAllocations(t *testing.T) {
	var (
		d        = Default.NewDecoder()
		echo     = []byte(`20["echo","some text that is echoed"]`)
		namesp   = []byte(`2/chat,17["echo","some text that is echoed",{"a":[1,2.5,null]}]`)
		p        Packet
		args     = []any{"text", 1, 2.5, true, nil, uint64(7), int64(-7), json.RawMessage(`{"a":1}`), []byte(nil)}
		text     = make([]byte, 0, 1024)
		bins     = make([][]byte, 0, 8)
		list     = Args{Data: []byte(`["text",1,2.5,true]`)}
		s        string
		i        int
		n        float64
		b        bool
		received = []any{Value{Data: []byte(`{"a":[` + ph0 + `]}`), Attachments: [][]byte{{1}}}}
		dst      = []any{&s, &i, &n, &b}
		stringOf = dst[:1]
	)
	for _, c := range []struct {
		name string
		want float64
		run  func()
	}{
		{"decode", 0, func() {
			if complete, err := d.Add(&p, echo, false); !complete || err != nil {
				t.Fatal(err)
			}
		}},
		{"decode with a namespace", 0, func() {
			if complete, err := d.Add(&p, namesp, false); !complete || err != nil {
				t.Fatal(err)
			}
		}},
		{"name", 0, func() { EventName(p.Data) }},
		{"encode", 0, func() { text, _, _ = Default.Encode(text[:0], &p) }},
		{"append scalars", 0, func() {
			var err error
			if text, _, err = AppendEvent(text[:0], nil, "event", args...); err != nil {
				t.Fatal(err)
			}
		}},
		{"append a received value", 0, func() {
			text, _, _ = AppendArgs(text[:0], bins, received...)
		}},
		{"bind a string", 1, func() {
			if err := list.Bind(stringOf...); err != nil {
				t.Fatal(err)
			}
		}},
		{"bind scalars", 1, func() {
			if err := list.Bind(dst...); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		if got := testing.AllocsPerRun(200, c.run); got > c.want {
			t.Errorf("%s: %v allocations, want %v", c.name, got, c.want)
		}
	}
}

type message struct {
	Room string   `json:"room"`
	Text string   `json:"text"`
	Tags []string `json:"tags"`
	At   int64    `json:"at"`
}

type picture struct {
	Name string `json:"name"`
	PNG  []byte `json:"png"`
}

var (
	benchMessage = message{"lobby", "hello, everyone <here>", []string{"a", "b"}, 1700000000123}
	benchPicture = picture{"cat", make([]byte, 1000)}
)

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"echo", `20["echo","some text that is echoed"]`},
		{"object", `2/chat,["message",{"room":"lobby","text":"hello, everyone <here>","tags":["a","b"],"at":1700000000123}]`},
		{"utf8", `2["message","Zażółć gęślą jaźń, 日本語のテキスト"]`},
	} {
		b.Run(c.name, func(b *testing.B) {
			d, text := Default.NewDecoder(), []byte(c.text)
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			var p Packet
			for b.Loop() {
				if _, err := d.Add(&p, text, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("binary", func(b *testing.B) {
		d, text, attachment := Default.NewDecoder(), []byte(`51-["picture",{"name":"cat","png":`+ph0+`}]`), make([]byte, 1000)
		b.ReportAllocs()
		var p Packet
		for b.Loop() {
			_, _ = d.Add(&p, text, false)
			if complete, err := d.Add(&p, attachment, true); !complete || err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendEvent(b *testing.B) {
	wide := []byte("[{")
	for i := range 20 {
		wide = fmt.Appendf(wide, `"member %d":"value %d",`, i*i, i)
	}
	wide = append(wide, `"last":[1,2]}]`...)
	for _, c := range []struct {
		name string
		args []any
	}{
		{"scalars", []any{"some text", 1, true, nil}},
		{"struct", []any{benchMessage}},
		{"binary", []any{benchPicture.PNG}},
		{"binary in struct", []any{&benchPicture}},
		{"relayed", Args{Data: []byte(`["some text",{"room":"lobby","text":"hello, everyone <here>","tags":["a","b"],"at":1700000000123}]`)}.Values()},
		{"relayed, 20 members", Args{Data: wide}.Values()},
		{"map", []any{map[string]any{"room": "lobby", "text": "hello", "at": 1, "tags": []any{"a", "b"}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			text := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := AppendEvent(text, nil, "message", c.args...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBind(b *testing.B) {
	object := []byte(`{"room":"lobby","text":"hello, everyone <here>","tags":["a","b"],"at":1700000000123}`)
	for _, c := range []struct {
		name  string
		value Value
		dst   any
	}{
		{"string", Value{Data: []byte(`"some text"`)}, new(string)},
		{"struct", Value{Data: object}, new(message)},
		{"any", Value{Data: object}, new(any)},
		{"binary", Value{Data: []byte(ph0), Attachments: [][]byte{{1}}}, new([]byte)},
		{"binary in struct", Value{Data: []byte(`{"name":"cat","png":` + ph0 + `}`), Attachments: [][]byte{{1}}}, new(picture)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.value.Bind(c.dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMessagePack(b *testing.B) {
	m := NewMessagePack(nil)
	text, _, err := AppendEvent(nil, nil, "message", benchMessage)
	if err != nil {
		b.Fatal(err)
	}
	p := Packet{Type: Event, Data: text}
	_, binary, err := m.Encode(nil, &p)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = m.Encode(nil, &p)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		d := m.NewDecoder()
		var p Packet
		for b.Loop() {
			if _, err := d.Add(&p, binary[0], true); err != nil {
				b.Fatal(err)
			}
		}
	})
}
