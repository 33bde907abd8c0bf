package parser

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/internal/msgpack"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func addMessagePack(p *Packet, o *Options, b []byte) error {
	_, err := NewMessagePack(o).NewDecoder().Add(p, b, true)
	return err
}

// Bytes sent by a Node.js server.
func TestMessagePackEncode(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet Packet
		want   string
	}{
		{"CONNECT", Packet{Type: Connect, Data: []byte(`{"sid":"x"}`)}, "83 a474797065 00 a464617461 81 a3736964 a178 a36e7370 a12f"},
		{"CONNECT without data", Packet{Type: Connect, Namespace: "/"}, "82a47479706500a36e7370a12f"},
		{"DISCONNECT", Packet{Type: Disconnect, Namespace: "/custom"}, "82a47479706501a36e7370a72f637573746f6d"},
		{"EVENT", Packet{Type: Event, Data: []byte(`["hello",1,"x"]`)}, "83a47479706502a46461746193a568656c6c6f01a178a36e7370a12f"},
		{"EVENT without data", Packet{Type: Event}, "83a47479706502a46461746190a36e7370a12f"},
		{"EVENT with id", Packet{Type: Event, HasID: true, Data: []byte(`["q",` + ph0 + `]`), Attachments: [][]byte{{255}}}, "84a47479706502a46461746192a171c401ffa2696400a36e7370a12f"},
		{"ACK", Packet{Type: Ack, HasID: true, Data: []byte(`[` + ph0 + `]`), Attachments: [][]byte{{1, 2}}}, "84a2696400a47479706503a46461746191c4020102a36e7370a12f"},
		{"CONNECT_ERROR", Packet{Type: ConnectError, Namespace: "/nope", Data: []byte(`{"message":"Invalid namespace"}`)}, "83a47479706504a36e7370a52f6e6f7065a46461746181a76d657373616765b1496e76616c6964206e616d657370616365"},
	} {
		text, binary, err := NewMessagePack(nil).Encode(nil, &c.packet)
		if err != nil || len(text) > 0 || len(binary) != 1 {
			t.Errorf("%s: %q, %d messages, %v", c.name, text, len(binary), err)
			continue
		}
		if want := unhex(t, c.want); string(binary[0]) != string(want) {
			t.Errorf("%s: %x, want %x", c.name, binary[0], want)
		}
		var p Packet
		if err := addMessagePack(&p, nil, binary[0]); err != nil || p.Type != c.packet.Type {
			t.Errorf("%s: decoding: %v", c.name, err)
		}
	}
}

func TestAppendMessagePack(t *testing.T) {
	for text, want := range map[string]string{
		``:                     "c0",
		`null`:                 "c0",
		`true`:                 "c3",
		`"\u00e9\n"`:           "a3c3a90a",
		`1`:                    "01",
		`1.0`:                  "01",
		`1e2`:                  "64",
		`-1`:                   "ff",
		`-0`:                   "00",
		`-1e2`:                 "d09c",
		`1.5`:                  "cb3ff8000000000000",
		`9007199254740992`:     "cf0020000000000000",
		`18446744073709551615`: "cfffffffffffffffff",
		`-9223372036854775808`: "d38000000000000000",
		`1e300`:                "cb7e37e43c8800759c", // where the reference writes 0
		`1e999`:                "cb7ff0000000000000",
		`[ 1 , [ ] , { } ]`:    "93019080",
		`{ "a" : { "b" : 1 } , "\u0063" : null }`:        "82a16181a16201a163c0",
		`[` + ph1 + `,{"_placeholder":true,"num":2}]`:    "92c40109 82ac5f706c616365686f6c646572c3a36e756d02",
		`[` + strings.Repeat("1,", 15) + `1]`:            "dc0010" + strings.Repeat("01", 16),
		`{"a":[` + strings.Repeat("[],", 16) + `"x"]}`:   "81a161dc0011" + strings.Repeat("90", 16) + "a178",
		`[{` + strings.Repeat(`"":0,`, 15) + `"":1},""]`: "92de0010" + strings.Repeat("a000", 15) + "a001a0",
	} {
		v := Value{Attachments: [][]byte{{8}, {9}}}
		if text != "" {
			v.Data = []byte(text)
		}
		if got := AppendMessagePack([]byte{0xaa}, v); string(got[1:]) != string(unhex(t, want)) {
			t.Errorf("%s: %x, want %s", text, got[1:], want)
		}
	}
}

func TestAppendFromMessagePack(t *testing.T) {
	for _, c := range []struct {
		hex, want string
		dates     bool
	}{
		{"c0", `null`, false},
		{"d6ff00000001", `[-1,` + ph1 + `]`, false},
		{"d6ff00000001", `"1970-01-01T00:00:01.000Z"`, true},
		{"d7ff1d5353006553f100", `"2023-11-14T22:13:20.123Z"`, true},
		{"c70cff3b8b87c0ffffffffffffffff", `"1969-12-31T23:59:59.999Z"`, true},
		{"c70cff 00000000 ffffffffffffffff", `"1969-12-31T23:59:59.000Z"`, true},
		{"c70cff ffffffff 7fffffffffffffff", `null`, true},
		{"c70cff ffffffff 8000000000000000", `null`, true},
		{"c703ff000000", `[-1,` + ph1 + `]`, true},
		{"d7000000018bcfe5687b", `"2023-11-14T22:13:20.123Z"`, false},
		{"d7007fffffffffffffff", `null`, false},
		{"82a161c401ffa16292c40101c0", `{"a":` + ph1 + `,"b":[{"_placeholder":true,"num":2},null]}`, false},
		{"82ac5f706c616365686f6c646572c3a36e756d00", `{ "_placeholder":true,"num":0}`, false},
		{"83a161d40000ac5f706c616365686f6c646572c3a36e756d00", `{ "_placeholder":true,"num":0}`, false},
		{"82a161d40000a162d40000", `{}`, false},
		{"82a161d40000a16201", `{"b":1}`, false},
	} {
		b := unhex(t, c.hex)
		text, all, n, err := AppendFromMessagePack([]byte("head"), [][]byte{{0}}, append(b, 0xc1), c.dates)
		if err != nil || string(text) != "head"+c.want || n != len(b) {
			t.Errorf("%s: %s of %d bytes, %v, want %s", c.hex, text, n, err, c.want)
		}
		if len(all) != 1+strings.Count(c.want, `{"_placeholder"`) {
			t.Errorf("%s: %d attachments", c.hex, len(all))
		}
	}
	for _, s := range []string{"", "c1", "91", "8190c0", "dd00ffffff", strings.Repeat("91", 1001) + "c0"} {
		text, all, n, err := AppendFromMessagePack(nil, nil, unhex(t, s), false)
		var e *SyntaxError
		if !errors.As(err, &e) || text != nil || all != nil || n != 0 {
			t.Errorf("%s: %s %v %d %v", s, text, all, n, err)
		}
	}
}

func TestMessagePackLimits(t *testing.T) {
	event := func(value []byte) []byte {
		b := msgpack.AppendMapHead(nil, 3)
		b = msgpack.AppendInt(msgpack.AppendString(b, "type"), int64(Event))
		b = msgpack.AppendString(msgpack.AppendString(b, "nsp"), "/")
		b = msgpack.AppendArrayHead(msgpack.AppendString(b, "data"), 2)
		return append(msgpack.AppendString(b, "a"), value...)
	}
	binaries := func(n int) []byte {
		b := msgpack.AppendArrayHead(nil, n)
		for range n {
			b = msgpack.AppendBinary(b, nil)
		}
		return b
	}
	nested := func(n int) []byte { return []byte(strings.Repeat("\x91", n) + "\xc0") }
	for _, c := range []struct {
		name    string
		value   []byte
		options *Options
		reason  string
	}{
		{"most binaries", binaries(1000), nil, ""},
		{"too many binaries", binaries(1001), nil, reasonTooMany},
		{"two binaries", binaries(2), &Options{MaxAttachments: 2}, ""},
		{"three binaries", binaries(3), &Options{MaxAttachments: 2}, reasonTooMany},
		{"no binaries", binaries(1), &Options{MaxAttachments: -1}, reasonTooMany},
		{"deepest", nested(999), nil, ""},
		{"too deep", nested(1000), nil, reasonUnreadable},
		{"bomb", unhex(t, "dd7fffffff"), nil, reasonUnreadable},
		{"very deep", nested(1e6), nil, reasonUnreadable},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Packet
			checkReason(t, addMessagePack(&p, c.options, event(c.value)), c.reason)
		})
	}
	var p Packet
	b := event(unhex(t, "c40101"))
	if err := addMessagePack(&p, nil, b); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if string(p.Data) != `["a",`+ph0+`]` || p.Attachments[0][0] != 1 || p.Namespace != "/" {
		t.Errorf("packet borrows from the message: %+v", p)
	}
}

func TestMessagePackRefuses(t *testing.T) {
	for name, c := range map[string]struct{ hex, reason string }{
		"reserved name": {"83a47479706502a36e7370a12fa46461746191a7636f6e6e656374", reasonPayload},
		"array as key":  {"83a47479706502a36e7370a12fa46461746192a1618190c0", reasonPayload},
		"ext as data":   {"83a47479706502a36e7370a12fa464617461d40101", reasonPayload},
	} {
		var p Packet
		err := addMessagePack(&p, nil, unhex(t, c.hex))
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		checkReason(t, err, c.reason)
	}
	var p Packet
	_, err := NewMessagePack(nil).NewDecoder().Add(&p, []byte("0"), false)
	checkReason(t, err, reasonPacketType)
}

func TestMessagePackIDs(t *testing.T) {
	for _, c := range []struct {
		id   []byte
		want uint64
	}{
		{msgpack.AppendUint(nil, 0), 0},
		{msgpack.AppendUint(nil, math.MaxUint64), math.MaxUint64},
		{msgpack.AppendFloat(nil, 7), 7},
		{msgpack.AppendFloat(nil, 1e300), math.MaxUint64},
	} {
		b := append(unhex(t, "84a47479706502a36e7370a12fa46461746191a161a26964"), c.id...)
		var p Packet
		if err := addMessagePack(&p, nil, b); err != nil || !p.HasID || p.ID != c.want {
			t.Errorf("%x: %d, %v, want %d", c.id, p.ID, err, c.want)
		}
	}
}
