package adapter_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// TestGoldenDecodeEncode decodes messages published by Node.js servers and encodes them again to the same bytes.
func TestGoldenDecodeEncode(t *testing.T) {
	for _, g := range adaptertest.ReadGolden[adaptertest.Golden](t, "testdata/sharded.jsonl") {
		payload := g.Payload(t)
		m, err := adapter.DecodeMessage(payload)
		if err != nil {
			t.Errorf("%s: %v", g.ID, err)
			continue
		}
		want := payload
		if g.ID == "emit-date-and-binary" {
			// A date is its text here: its type is known to JavaScript alone.
			date, _ := hex.DecodeString("d7ff1d52e600655434f4") // 8 bytes, extension -1
			if !bytes.Contains(want, date[:2]) {
				t.Errorf("%s: no date in %x", g.ID, want)
			}
			i := bytes.Index(want, date[:2])
			text := append([]byte{0xa0 | 24}, "2023-11-14T22:13:20.123Z"...)
			want = bytes.Join([][]byte{want[:i], want[i+10:]}, text)
		}
		if got := m.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s: %s\n got %q\nwant %q", g.ID, g.Channel, got, want)
		}
	}
}

// TestMessageEncode checks the bytes of encoded messages.
func TestMessageEncode(t *testing.T) {
	value := parser.Value{Data: []byte(`["hello",1,"2",{"3":["4",null,true,1.5]}]`)}
	for name, test := range map[string]struct {
		m    adapter.Message
		want string
	}{
		"heartbeat": {
			adapter.Message{Type: adapter.MessageHeartbeat},
			`{"type":2,"uid":"u","nsp":"/"}`,
		},
		"broadcast": {
			adapter.Message{Type: adapter.MessageBroadcast, Value: value},
			`{"type":3,"data":{"packet":{"type":2,"data":["hello",1,"2",{"3":["4",null,true,1.5]}]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"u","nsp":"/"}`,
		},
		"all options": {
			adapter.Message{Type: adapter.MessageBroadcast, RequestID: "r", Value: value, Options: adapter.Options{
				Rooms: []string{"a", "é\"\\\n\x01<\u2028"}, Except: []string{"\xff"},
				Flags: adapter.Flags{Volatile: true, NoCompress: true, ExpectSingleResponse: true, Timeout: 1500 * time.Microsecond, Local: true},
			}},
			`{"type":3,"data":{"packet":{"type":2,"data":["hello",1,"2",{"3":["4",null,true,1.5]}]},"requestId":"r","opts":{"rooms":["a","é\"\\\n\u0001<` +
				"\u2028" + `"],"except":["` + "\ufffd" + `"],"flags":{"expectSingleResponse":true,"volatile":true,"compress":false,"timeout":2}}},"uid":"u","nsp":"/"}`,
		},
		"no rooms": {
			adapter.Message{Type: adapter.MessageSocketsJoin},
			`{"type":4,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":[]},"uid":"u","nsp":"/"}`,
		},
		"no sockets": {
			adapter.Message{Type: adapter.MessageFetchSocketsResponse, RequestID: "r"},
			`{"type":8,"data":{"requestId":"r","sockets":[]},"uid":"u","nsp":"/"}`,
		},
		"sockets without details": {
			adapter.Message{Type: adapter.MessageFetchSocketsResponse, RequestID: "r", Sockets: []adapter.Description{{ID: "a"}, {ID: "b", Rooms: []string{"b"}, Data: []byte(`1`)}}},
			`{"type":8,"data":{"requestId":"r","sockets":[{"id":"a","handshake":{},"rooms":[],"data":{}},{"id":"b","handshake":{},"rooms":["b"],"data":1}]},"uid":"u","nsp":"/"}`,
		},
		"no answer": {
			adapter.Message{Type: adapter.MessageBroadcastAck, RequestID: "r"},
			`{"type":12,"data":{"requestId":"r"},"uid":"u","nsp":"/"}`,
		},
	} {
		test.m.UID, test.m.Namespace = "u", "/"
		if got := string(test.m.Append(nil)); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
	}
}

func TestDecodeMessageLimits(t *testing.T) {
	many := append([]byte{0xdd, 0, 0, 0x27, 0x11}, bytes.Repeat([]byte{0xc4, 0}, 10_001)...)
	deep := strings.Repeat("[", 5000)
	for name, payload := range map[string][]byte{
		"too many binary values": many,
		"too deep":               []byte(`{"type":3,"data":` + deep),
		"too deep MessagePack":   bytes.Repeat([]byte{0x91}, 5000),
		"too long":               make([]byte, adapter.MaxMessageBytes+1),
		"trailing bytes":         {0x80, 0x80},
		"length beyond the end":  {0xdf, 0xff, 0xff, 0xff, 0xff},
	} {
		if _, err := adapter.DecodeMessage(payload); !errors.Is(err, adapter.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if _, err := adapter.DecodeMessage([]byte(`{"type":99}`)); !errors.Is(err, adapter.ErrUnknownType) {
		t.Errorf("unknown type: %v", err)
	}
}

// TestDecodeBinaryDescription decodes socket data that JSON cannot represent.
func TestDecodeBinaryDescription(t *testing.T) {
	data, attachments, err := parser.AppendArgs(nil, nil, map[string]any{"id": "s", "rooms": []any{1.5, "r"}, "data": map[string]any{"b": []byte{1, 255}}})
	if err != nil {
		t.Fatal(err)
	}
	sockets, ok := adapter.DecodeDescriptions(parser.Value{Data: data, Attachments: attachments})
	if !ok || len(sockets) != 1 || string(sockets[0].Data) != `{"b":{"type":"Buffer","data":[1,255]}}` || sockets[0].Rooms[0] != "1.5" {
		t.Errorf("got %+v, %v", sockets, ok)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, g := range adaptertest.ReadGolden[adaptertest.Golden](f, "testdata/sharded.jsonl") {
		f.Add(g.Payload(f))
	}
	f.Add([]byte(`{"type":8,"data":{"requestId":"x","sockets":[{"id":"a","rooms":[1]}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := adapter.DecodeMessage(b)
		if err != nil {
			if !errors.Is(err, adapter.ErrMalformed) && !errors.Is(err, adapter.ErrUnknownType) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		// A message that was decoded once can be decoded again.
		encoded := m.Append(nil)
		again, err := adapter.DecodeMessage(encoded)
		if err != nil {
			t.Fatalf("%q, encoded as %q: %v", b, encoded, err)
		}
		if twice := again.Append(nil); !bytes.Equal(encoded, twice) {
			t.Errorf("%q is encoded as %q and then as %q", b, encoded, twice)
		}
		if m.Type == adapter.MessageBroadcast {
			p := parser.Packet{Type: parser.Event, Data: m.Value.Data, Attachments: m.Value.Attachments}
			if _, _, err := parser.Default.Encode(nil, &p); err != nil {
				t.Errorf("packet cannot be encoded: %v", err)
			}
		}
	})
}

func BenchmarkDecodeMessage(b *testing.B) {
	m := adapter.Message{Type: adapter.MessageBroadcast, UID: "0c0310a29557d6df", Namespace: "/", Options: adapter.Options{Rooms: []string{"room"}},
		Value: parser.Value{Data: []byte(`["message",{"text":"` + strings.Repeat("x", 100) + `"}]`)}}
	payload := m.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := adapter.DecodeMessage(payload); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNestedAndTruncated decodes messages that are nested deeper than any stack, and every beginning of valid ones.
func TestNestedAndTruncated(t *testing.T) {
	const deep = 1 << 20
	event := `{"type":3,"data":{"packet":{"type":2,"data":["x",`
	for name, payload := range map[string]string{
		"arrays in MessagePack":      strings.Repeat("\x91", deep) + "\xc0",
		"maps in MessagePack":        strings.Repeat("\x81\xa1k", deep) + "\xc0",
		"open arrays in MessagePack": strings.Repeat("\x91", deep),
		"maps as keys":               strings.Repeat("\x81", deep),
		"arrays in JSON":             event + strings.Repeat("[", deep) + strings.Repeat("]", deep) + `]},"opts":{}},"nsp":"/"}`,
		"objects in JSON":            event + strings.Repeat(`{"k":`, deep) + "1" + strings.Repeat("}", deep) + `]},"opts":{}},"nsp":"/"}`,
		"open arrays in JSON":        event + strings.Repeat("[", deep),
	} {
		if _, err := adapter.DecodeMessage([]byte(payload)); !errors.Is(err, adapter.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	for _, g := range adaptertest.ReadGolden[adaptertest.Golden](t, "testdata/sharded.jsonl") {
		payload := g.Payload(t)
		for n := range payload {
			// Nothing may be read past the end, not even within the capacity of the slice.
			if m, err := adapter.DecodeMessage(bytes.Clone(payload[:n])); err == nil {
				t.Fatalf("%s: the first %d of %d bytes are decoded to %+v", g.ID, n, len(payload), m)
			}
		}
	}
}
