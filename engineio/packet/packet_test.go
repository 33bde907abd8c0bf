package packet

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func text(t Type, data string) Packet {
	p := Packet{Type: t}
	if data != "" {
		p.Data = []byte(data)
	}
	return p
}

func binary(data string) Packet { return Packet{Type: Message, Binary: true, Data: []byte(data)} }

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		want     Packet
		err      error
	}{
		{"open", `0{"sid":"x"}`, text(Open, `{"sid":"x"}`), nil},
		{"close", "1", text(Close, ""), nil},
		{"ping", "2", text(Ping, ""), nil},
		{"ping with data", "2probe", text(Ping, "probe"), nil},
		{"pong", "3", text(Pong, ""), nil},
		{"message", "4hello", text(Message, "hello"), nil},
		{"message without data", "4", text(Message, ""), nil},
		{"upgrade", "5", text(Upgrade, ""), nil},
		{"noop", "6", text(Noop, ""), nil},
		{"binary", "bAQIDBA==", binary("\x01\x02\x03\x04"), nil},
		{"empty binary", "b", binary(""), nil},
		{"empty", "", Packet{}, ErrEmpty},
		{"letter", "abc", Packet{}, ErrType},
		{"digit", "7", Packet{}, ErrType},
		{"upper case mark", "BAQ", Packet{}, ErrType},
		{"separator", "\x1e", Packet{}, ErrType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.in))
			if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Parse(%q) = %+v, %v; want %+v, %v", tt.in, got, err, tt.want, tt.err)
			}
		})
	}
}

// The results are those of Node.js: Buffer.from(in, "base64").
func TestDecodeBase64(t *testing.T) {
	tests := map[string]string{
		"AQIDBA==":   "\x01\x02\x03\x04",
		"AQIDBA":     "\x01\x02\x03\x04",
		"-_-_":       "\xfb\xff\xbf",
		"+/+/":       "\xfb\xff\xbf",
		"AQ ID_-!":   "\x01\x02\x03\xff",
		"AQ\r\nID":   "\x01\x02\x03",
		"AQ==BAUG":   "\x01",
		"=bad=bad":   "",
		"AQ=ID":      "\x01",
		"A":          "",
		"AQI":        "\x01\x02",
		"AQIDB":      "\x01\x02\x03",
		"€AQID":      "\x01\x02\x03",
		"":           "",
		"A Q-_!\x00": "\x01\x0f\xbf",
	}
	for in, want := range tests {
		if got := DecodeBase64([]byte(in)); got == nil || string(got) != want {
			t.Errorf("DecodeBase64(%q) = %q, want %q", in, got, want)
		}
	}
}

type decoder interface {
	Next() (Packet, bool, error)
}

// decode returns the packets of a payload, and the error after them.
func decode(d decoder) (packets []Packet, err error) {
	for {
		p, ok, err := d.Next()
		if !ok {
			if again, more, err := d.Next(); more || err != nil {
				panic(again)
			}
			return packets, err
		}
		packets = append(packets, p)
	}
}

func TestPayload(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Packet
		err      error
	}{
		{"one", "4hello", []Packet{text(Message, "hello")}, nil},
		{"several", "4hello\x1e2\x1e4€", []Packet{text(Message, "hello"), text(Ping, ""), text(Message, "€")}, nil},
		{"binary", "4test1\x1ebAQIDBA==", []Packet{text(Message, "test1"), binary("\x01\x02\x03\x04")}, nil},
		{"empty", "", nil, ErrEmpty},
		{"trailing separator", "4a\x1e", []Packet{text(Message, "a")}, ErrEmpty},
		{"leading separator", "\x1e4a", nil, ErrEmpty},
		{"two separators", "4a\x1e\x1e4b", []Packet{text(Message, "a")}, ErrEmpty},
		{"bad packet", "4a\x1eabc\x1e4b", []Packet{text(Message, "a")}, ErrType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := NewPayload([]byte(tt.in))
			got, err := decode(&d)
			if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("%+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
			if tt.err != nil {
				return
			}
			var b []byte
			for _, p := range got {
				b = AppendNext(b, 0, p)
			}
			if string(b) != tt.in {
				t.Errorf("encoded %q, want %q", b, tt.in)
			}
		})
	}
}

func TestStringPayloadV3(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Packet
		err      error
		once     bool // encoding does not produce the same bytes
	}{
		{"open", `5:0{"a"`, []Packet{text(Open, `{"a"`)}, nil, false},
		{"several", "2:401:26:4héllo", []Packet{text(Message, "0"), text(Ping, ""), text(Message, "héllo")}, nil, false},
		{"UTF-16 units", `17:42["hello","€😀"]`, []Packet{text(Message, `2["hello","€😀"]`)}, nil, false},
		{"close sequence", "1:61:1", []Packet{text(Noop, ""), text(Close, "")}, nil, false},
		{"base64", "6:b4AQID", []Packet{binary("\x01\x02\x03")}, nil, false},
		{"empty base64", "2:b4", []Packet{binary("")}, nil, false},
		{"empty batch", "0:", nil, nil, true},
		{"empty entry", "0:1:2", []Packet{text(Ping, "")}, nil, true},
		{"leading zero", "01:2", []Packet{text(Ping, "")}, nil, true},
		{"empty", "", nil, ErrEmpty, false},
		{"no colon", "4hello", nil, ErrLength, false},
		{"no length", ":4hello", nil, ErrLength, false},
		{"no number", "x:4", nil, ErrLength, false},
		{"sign", "+1:4", nil, ErrLength, false},
		{"too short", "3:4a", nil, ErrLength, false},
		{"huge", strings.Repeat("9", 500) + ":4", nil, ErrLength, false},
		{"left over", "2:4aX", []Packet{text(Message, "a")}, ErrLength, false},
		{"half a character", "2:4😀", nil, ErrLength, false},
		{"unknown type", "2:9a", nil, ErrType, false},
		{"mark without type", "1:b", nil, ErrEmpty, false},
		{"mark with unknown type", "2:bx", nil, ErrType, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := NewStringPayloadV3([]byte(tt.in))
			got, err := decode(&d)
			if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("%+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
			if tt.err != nil || tt.once {
				return
			}
			var b []byte
			for _, p := range got {
				b = AppendStringV3(b, p)
			}
			if string(b) != tt.in {
				t.Errorf("encoded %q, want %q", b, tt.in)
			}
		})
	}
}

func TestBinaryPayloadV3(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Packet
		err      error
		once     bool
	}{
		{"mixed", "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04",
			[]Packet{text(Message, "€"), binary("\x01\x02\x03\x04")}, nil, false},
		{"long", "\x01\x01\x01\xff\x04" + "0123456789", []Packet{binary("0123456789")}, nil, false},
		{"other mark", "\x05\x01\xff\x04", []Packet{binary("")}, nil, true},
		{"empty", "", nil, nil, false},
		{"base64 in a string", "\x00\x06\xffb4AQID", []Packet{binary("\x01\x02\x03")}, nil, true},
		{"invalid UTF-8", "\x00\x02\xff4\xff", []Packet{text(Message, "\uFFFD")}, nil, true},
		{"no end of length", "\x00\x01", nil, ErrLength, false},
		{"no digit", "\x00a\xff4", nil, ErrLength, false},
		{"too short", "\x00\x03\xff4", nil, ErrLength, false},
		{"too many digits", "\x00" + strings.Repeat("\x00", 311) + "\xff4", nil, ErrLength, false},
		{"empty packet", "\x00\x00\xff", nil, ErrEmpty, false},
		{"empty binary packet", "\x01\x00\xff", nil, ErrEmpty, false},
		{"unknown binary type", "\x01\x01\xff\x09", nil, ErrType, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := NewBinaryPayloadV3([]byte(tt.in))
			got, err := decode(&d)
			if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("%+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
			if tt.err != nil || tt.once {
				return
			}
			var b []byte
			for _, p := range got {
				b = AppendBinaryV3(b, p)
			}
			if string(b) != tt.in {
				t.Errorf("encoded %q, want %q", b, tt.in)
			}
		})
	}
}

// The results are those of Node.js: buffer.toString("utf8").
func TestSanitize(t *testing.T) {
	tests := map[string]string{
		"plain":                  "plain",
		"€😀":                     "€😀",
		"\xff":                   "\uFFFD",
		"\xff\xfe":               "\uFFFD\uFFFD",
		"a\xe2\x82":              "a\uFFFD",
		"a\xe2\x82b":             "a\uFFFDb",
		"\xf0\x9f\x98":           "\uFFFD",
		"\xf0\x9f\x98\xf0":       "\uFFFD\uFFFD",
		"\xc0\x80":               "\uFFFD\uFFFD",
		"\xe0\x80\x80":           "\uFFFD\uFFFD\uFFFD",
		"\xed\xa0\x80":           "\uFFFD\uFFFD\uFFFD",
		"\xf4\x90\x80\x80":       "\uFFFD\uFFFD\uFFFD\uFFFD",
		"\xf5\x80":               "\uFFFD\uFFFD",
		"\x80a":                  "\uFFFDa",
		"\xef\xbb\xbfa":          "\uFEFFa",
		"\xc3":                   "\uFFFD",
		"\xf1\x80\x80a\xe1\x80b": "\uFFFDa\uFFFDb",
	}
	for in, want := range tests {
		if got := string(Sanitize([]byte(in))); got != want {
			t.Errorf("Sanitize(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"4hello", "bAQID", "b", "", "2probe", "b4AQ", "\x04\x01", "€"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := Parse(b); err == nil {
			again, err := Parse(Append(nil, p))
			if err != nil || !reflect.DeepEqual(again, p) {
				t.Errorf("%+v became %+v, %v", p, again, err)
			}
		}
		_, _ = ParseV3(b)
		_, _ = ParseBinaryV3(b)
	})
}

func FuzzPayload(f *testing.F) {
	for _, seed := range []string{"4a\x1e4b", "bAQID\x1e2", "\x1e", "2:401:2", "0:", "17:42[\"hello\",\"€😀\"]", "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04"} {
		f.Add([]byte(seed))
	}
	formats := []struct {
		name   string
		decode func([]byte) decoder
		encode func([]byte, Packet) []byte
	}{
		{"v4", func(b []byte) decoder { d := NewPayload(b); return &d }, func(b []byte, p Packet) []byte { return AppendNext(b, 0, p) }},
		{"v3 string", func(b []byte) decoder { d := NewStringPayloadV3(Sanitize(b)); return &d }, AppendStringV3},
		{"v3 binary", func(b []byte) decoder { d := NewBinaryPayloadV3(b); return &d }, AppendBinaryV3},
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, format := range formats {
			packets, err := decode(format.decode(b))
			if err != nil || len(packets) == 0 {
				continue
			}
			var encoded []byte
			for _, p := range packets {
				encoded = format.encode(encoded, p)
			}
			again, err := decode(format.decode(encoded))
			if err != nil || len(again) != len(packets) {
				t.Fatalf("%s: %+v became %q, which is %+v, %v", format.name, packets, encoded, again, err)
			}
			for i := range again {
				if again[i].Type != packets[i].Type || again[i].Binary != packets[i].Binary || !bytes.Equal(again[i].Data, packets[i].Data) {
					t.Errorf("%s: %+v became %+v", format.name, packets[i], again[i])
				}
			}
		}
	})
}

func BenchmarkPayload(b *testing.B) {
	body := []byte(strings.Repeat("42[\"message\",\"hello\"]\x1e", 9) + "2")
	b.ReportAllocs()
	for b.Loop() {
		d := NewPayload(body)
		for {
			if _, ok, _ := d.Next(); !ok {
				break
			}
		}
	}
}

func BenchmarkAppendNext(b *testing.B) {
	p := text(Message, `2["message","hello"]`)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendNext(AppendNext(buf[:0], 0, p), 0, p)
	}
}
