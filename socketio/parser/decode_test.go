package parser

import (
	"bytes"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func decodeText(t *testing.T, text string) Packet {
	t.Helper()
	var p Packet
	complete, err := Default.NewDecoder().Add(&p, []byte(text), false)
	if err != nil || !complete {
		t.Fatalf("%s: complete %v, error %v", text, complete, err)
	}
	return p
}

func TestSyntaxError(t *testing.T) {
	for _, c := range []struct {
		text   string
		reason string
		offset int
	}{
		{"7", "unknown packet type 7", 0},
		{"x", "unknown packet type NaN", 0},
		{"5a-", "Illegal attachments", 1},
		{"511-[]", "too many attachments", 1},
		{`2["a",x]`, "invalid payload", 6},
		{`2/n,1[1`, "invalid payload", 7},
		{`2["connect"]`, "invalid payload", 1},
		{`21 2["a"]`, "invalid payload", 1},
		{`51-["a",{"_placeholder":true,"num":1}]`, "illegal attachments", 3},
	} {
		var p Packet
		_, err := Default.NewDecoder().Add(&p, []byte(c.text), false)
		e, ok := err.(*SyntaxError)
		if !ok || e.Reason != c.reason || e.Offset != c.offset {
			t.Errorf("%s: %v, want %q at %d", c.text, err, c.reason, c.offset)
		}
	}
}

func TestMaxAttachments(t *testing.T) {
	add := func(o *Options, text string) error {
		var p Packet
		_, err := New(o).NewDecoder().Add(&p, []byte(text), false)
		return err
	}
	checkReason(t, add(&Options{MaxAttachments: 2}, `52-["a"]`), "")
	checkReason(t, add(&Options{MaxAttachments: 2}, `53-["a"]`), reasonTooMany)
	checkReason(t, add(&Options{MaxAttachments: -1}, `51-["a"]`), reasonTooMany)
	checkReason(t, add(&Options{MaxAttachments: math.MaxInt}, `599999999999999999999999-["a"]`), "")
}

func TestMaxDepth(t *testing.T) {
	nested := func(depth int) []byte {
		return []byte("2" + `["a",` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + "]")
	}
	for _, c := range []struct {
		limit, depth int
		reason       string
	}{
		{0, 1000, ""},
		{0, 1001, reasonPayload},
		{3, 3, ""},
		{3, 4, reasonPayload},
		{1 << 20, 300000, ""},
	} {
		var p Packet
		_, err := New(&Options{MaxDepth: c.limit}).NewDecoder().Add(&p, nested(c.depth), false)
		checkReason(t, err, c.reason)
	}
	var p Packet
	_, err := Default.NewDecoder().Add(&p, []byte("2"+strings.Repeat("[", 1e6)), false)
	checkReason(t, err, reasonPayload)
	_, err = Default.NewDecoder().Add(&p, []byte("2"+strings.Repeat(`{"a":`, 1e5)), false)
	checkReason(t, err, reasonPayload)
}

// TestUnlimitedAttachments checks that an announced number of attachments costs nothing before they arrive.
func TestUnlimitedAttachments(t *testing.T) {
	var p Packet
	d := New(&Options{MaxAttachments: math.MaxInt}).NewDecoder()
	before := totalAlloc()
	if complete, err := d.Add(&p, []byte(`599999999999999999999-["a"]`), false); complete || err != nil {
		t.Fatal(complete, err)
	}
	for range 100 {
		if complete, err := d.Add(&p, []byte{1}, true); complete || err != nil {
			t.Fatal(complete, err)
		}
	}
	if used := totalAlloc() - before; used > 1<<20 {
		t.Errorf("%d bytes for 100 attachments", used)
	}
	text := append([]byte("51000-[1"), strings.Repeat(","+ph0, 1000)...)
	d = New(&Options{MaxAttachments: math.MaxInt}).NewDecoder()
	complete, err := d.Add(&p, append(text, ']'), false)
	for range 1000 {
		if complete || err != nil {
			t.Fatal(complete, err)
		}
		complete, err = d.Add(&p, []byte{7}, true)
	}
	if !complete || err != nil || len(p.Attachments) != 1000 {
		t.Errorf("complete %v, %v, %d attachments", complete, err, len(p.Attachments))
	}
}

func totalAlloc() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestTruncated truncates packets, also in the middle of characters. The rest is an error or a complete packet.
func TestTruncated(t *testing.T) {
	for _, text := range []string{
		`2/ñ,12["é€😀",{"ключ":["日本",1.5e10,true,null]},"\ud83d\ude00"]`, `51-/ñ,12["é€😀",{"_placeholder":true,"num":0},"€"]`,
		`0/ñ,{"é":"€"}`, `4"é€😀"`, `312["😀"]`,
	} {
		for i := range len(text) + 1 {
			var p Packet
			d := Default.NewDecoder()
			complete, err := d.Add(&p, []byte(text[:i]), false)
			if err == nil && !complete {
				complete, err = d.Add(&p, []byte{1}, true)
			}
			if _, ok := err.(*SyntaxError); err != nil && !ok || err == nil && !complete {
				t.Fatalf("%q: complete %v, %v", text[:i], complete, err)
			}
			if err == nil {
				checkDecoded(t, &p)
			}
			if i == len(text) && err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		p := decodeText(t, `3[]`)
		if _, err := Default.NewDecoder().Add(&p, []byte(text), false); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(text, "5") {
			_, binary, err := NewMessagePack(nil).Encode(nil, &p)
			if err != nil {
				t.Fatal(err)
			}
			for i := range binary[0] {
				if err := addMessagePack(&p, nil, binary[0][:i]); err == nil {
					t.Errorf("%x is taken for a packet", binary[0][:i])
				}
			}
		}
	}
}

func TestHugeID(t *testing.T) {
	for _, c := range []struct {
		digits string
		want   uint64
	}{
		{"0", 0},
		{"007", 7},
		{"000000000000000000000000000000000012", 12},
		{"9007199254740993", 9007199254740992},
		{"18446744073709551615", math.MaxUint64},
		{"18446744073709551616", math.MaxUint64},
		{strings.Repeat("9", 400), math.MaxUint64},
	} {
		p := decodeText(t, "2"+c.digits+`["a"]`)
		if !p.HasID || p.ID != c.want {
			t.Errorf("%s: id %d, want %d", c.digits, p.ID, c.want)
		}
	}
	if p := decodeText(t, `2["a"]`); p.HasID {
		t.Error("id where there is none")
	}
}

func TestInvalidUTF8(t *testing.T) {
	p := decodeText(t, "2/\xff,[\"a\",\"b\xff\xfec\"]")
	if p.Namespace != "/\uFFFD" || string(p.Data) != "[\"a\",\"b\uFFFDc\"]" {
		t.Errorf("%q %q", p.Namespace, p.Data)
	}
	long := strings.Repeat("x", 200)
	if p := decodeText(t, "2/"+long+"\xff"); p.Namespace != "/"+long+"\uFFFD" {
		t.Errorf("%q", p.Namespace)
	}
}

// The data of a packet with attachments must not depend on the messages that carried it.
func TestDecoderOwnership(t *testing.T) {
	d := Default.NewDecoder()
	text := []byte(`51-/chat,["a",{"_placeholder":true,"num":0},"b"]`)
	var p Packet
	if complete, err := d.Add(&p, text, false); complete || err != nil {
		t.Fatal(complete, err)
	}
	clear(text)
	attachment := []byte{1, 2, 3}
	if complete, err := d.Add(&p, attachment, true); !complete || err != nil {
		t.Fatal(complete, err)
	}
	clear(attachment)
	if p.Namespace != "/chat" || string(p.Data) != `["a",{"_placeholder":true,"num":0},"b"]` ||
		len(p.Attachments) != 1 || !bytes.Equal(p.Attachments[0], []byte{1, 2, 3}) {
		t.Errorf("%+v", p)
	}

	text = []byte(`2/room,["a"]`)
	p = Packet{ID: 7, HasID: true, Attachments: p.Attachments}
	if complete, err := d.Add(&p, text, false); !complete || err != nil {
		t.Fatal(complete, err)
	}
	if &p.Data[0] != &text[7] || p.HasID || p.ID != 0 || p.Attachments != nil {
		t.Errorf("data not borrowed, or fields left from before: %+v", p)
	}
	c := p.Clone()
	clear(text)
	if string(c.Data) != `["a"]` || c.Namespace != "/room" {
		t.Errorf("clone %+v", c)
	}
}

func TestClone(t *testing.T) {
	p := Packet{Data: []byte("[]"), Attachments: [][]byte{{1}, {}, nil}}
	c := p.Clone()
	p.Data[0], p.Attachments[0][0] = 'x', 2
	p.Attachments[1] = nil
	if string(c.Data) != "[]" || c.Attachments[0][0] != 1 || c.Attachments[1] == nil {
		t.Errorf("%+v", c)
	}
	if c := (&Packet{}).Clone(); c.Data != nil || c.Attachments != nil {
		t.Errorf("%+v", c)
	}
}

// Clients must not be able to fill memory with names, or to give one namespace the name of another.
func TestNames(t *testing.T) {
	var n names
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			var b []byte
			for i := range 2000 {
				b = append(b[:0], "/n"...)
				b = append(b, byte('a'+i%26), byte('a'+i/26%26))
				if got := n.get(b); got != string(b) {
					t.Errorf("%q instead of %q", got, b)
					return
				}
			}
		})
	}
	wait.Wait()
}

func TestEventName(t *testing.T) {
	for _, c := range []struct {
		data, name, rest string
		ok               bool
	}{
		{`["a"]`, "a", `]`, true},
		{`["a",1,"b"]`, "a", `,1,"b"]`, true},
		{`[ "a" , 1 ]`, "a", `, 1 ]`, true},
		{`["a" ]`, "a", `]`, true},
		{`[""]`, "", `]`, true},
		{`["]\"[",1]`, `]"[`, `,1]`, true},
		{`["\ud83d\ude00\u00e9\n\t\b\f\r\/\\"]`, "😀é\n\t\b\f\r/\\", `]`, true},
		{`["\ud83d"]`, "\uFFFD", `]`, true},
		{`["\ud83dx"]`, "\uFFFDx", `]`, true},
		{`["\ude00\ud83d"]`, "\uFFFD\uFFFD", `]`, true},
		{`["\ud83d\u0041"]`, "\uFFFDA", `]`, true},
		{`[1]`, "1", `]`, true},
		{`[1,2]`, "1", `,2]`, true},
		{`[ 1 ,2]`, "1", `,2]`, true},
		{`[1.0]`, "1", `]`, true},
		{`[-0]`, "0", `]`, true},
		{`[-1.50]`, "-1.5", `]`, true},
		{`[1e3]`, "1000", `]`, true},
		{`[1e21]`, "1e+21", `]`, true},
		{`[1e-7]`, "1e-7", `]`, true},
		{`[123456789012345678901]`, "123456789012345680000", `]`, true},
		{`[1e999]`, "Infinity", `]`, true},
		{`[-1e999]`, "-Infinity", `]`, true},
		{`[]`, "", "", false},
		{`[true]`, "", "", false},
		{`[null,1]`, "", "", false},
		{`[{}]`, "", "", false},
		{`[["a"]]`, "", "", false},
		{`{"a":1}`, "", "", false},
		{``, "", "", false},
		{`[`, "", "", false},
	} {
		name, rest, ok := EventName([]byte(c.data))
		if string(name) != c.name || string(rest) != c.rest || ok != c.ok {
			t.Errorf("%s: %q %q %v, want %q %q %v", c.data, name, rest, ok, c.name, c.rest, c.ok)
		}
	}
}

func TestReservedEvent(t *testing.T) {
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		if !ReservedEvent(name) {
			t.Errorf("%q is not reserved", name)
		}
	}
	for _, name := range []string{"", "error", "connection", "message", "Connect", "connect "} {
		if ReservedEvent(name) {
			t.Errorf("%q is reserved", name)
		}
	}
}

func TestValid(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":[1,"b",null]}`: true,
		`1`:                  true,
		``:                   false,
		` 1`:                 false,
		`1 `:                 false,
		`[1`:                 false,
		"\"\xff\"":           false,
		"\"é\"":              true,
	} {
		if Valid([]byte(text)) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

func TestTypeString(t *testing.T) {
	if s := BinaryAck.String(); s != "BINARY_ACK" {
		t.Error(s)
	}
	if s := Type(9).String(); s != "Type(9)" {
		t.Error(s)
	}
}
