package redis

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
)

// notReceiving is a backend whose node receives nothing.
type notReceiving struct{ *classic }

func (b notReceiving) Start(n adapter.Node) { b.node = n }

// newTestClassic returns an unconnected backend and its namespace.
func newTestClassic(namespace string, o *Options) (*classic, *adaptertest.Node) {
	o.Key = defaultPrefix
	n := adaptertest.NewNode(namespace)
	b := newClassic(nil, newReceiver(nil, false, &o.ClusterOptions), o, namespace)
	n.Adapter = adapter.NewCluster(n, nil, notReceiving{b})
	return b, n
}

func decode(channel string, payload []byte) (*adapter.Message, error) {
	switch {
	case strings.HasPrefix(channel, "socket.io-request#"):
		r, err := decodeRequest(payload, "nobody")
		if err != nil {
			return nil, err
		}
		return r.m, err
	case strings.HasPrefix(channel, "socket.io-response#"):
		return decodeResponse(payload, func(string) bool { return true })
	}
	return decodeBroadcast(payload)
}

// TestGolden decodes messages of Node.js servers and emitters and encodes them again. The channel must be the same, and for
// messages of servers also the bytes.
func TestGolden(t *testing.T) {
	for _, file := range []string{"classic.jsonl", "emitter.jsonl"} {
		for _, g := range adaptertest.ReadGolden[adaptertest.Golden](t, "testdata/"+file) {
			t.Run(g.ID, func(t *testing.T) {
				payload := g.Payload(t)
				m, err := decode(g.Channel, payload)
				if err != nil {
					t.Fatal(err)
				}
				namespace := strings.Split(g.Channel, "#")[1]
				if m.Namespace != "" && m.Namespace != namespace {
					t.Errorf("namespace %q on channel %s", m.Namespace, g.Channel)
				}
				m.Namespace = namespace
				if m.Type == 0 {
					return // an old request or an answer to one
				}
				// An answer does not contain its receiver.
				parts := strings.Split(g.Channel, "#")
				o := new(Options)
				if m.Type.IsResponse() && len(parts) == 4 {
					m.To, o.SpecificResponseChannel = parts[2], true
				}
				if m.Type == adapter.MessageBroadcast && m.RequestID != "" {
					// Flags of requests are sent but ignored.
					m.Options.Flags.ExpectSingleResponse = strings.Contains(string(payload), "expectSingleResponse")
				}
				b, _ := newTestClassic(namespace, o)
				out, err := b.Encode(m)
				if err != nil {
					t.Fatal(err)
				}
				if out.Channel != g.Channel {
					t.Errorf("channel: got %s, want %s", out.Channel, g.Channel)
				}
				if want := expected(t, &g, payload); want != nil && !bytes.Equal(out.Payload, want) {
					t.Errorf("\n got %q\nwant %q", out.Payload, want)
				}
			})
		}
	}
}

// expected returns the expected encoding of a decoded golden message, or nil if it may differ.
func expected(t *testing.T, g *adaptertest.Golden, payload []byte) []byte {
	switch {
	case strings.HasPrefix(g.ID, "emit-date"):
		// A date becomes its text, because only JavaScript knows the type.
		i := bytes.Index(payload, []byte{0xd7, 0xff})
		if i < 0 {
			t.Fatal("no date in it")
		}
		text := append([]byte{0xa0 | 24}, "2023-11-14T22:13:20.123Z"...)
		return bytes.Join([][]byte{payload[:i], payload[i+10:]}, text)
	case g.ID == "emit-numbers":
		// The library of Node.js servers encodes the largest number as zero, in the long form.
		return bytes.Replace(payload, []byte{0xcf, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{0}, 1)
	case bytes.Contains(payload[:min(len(payload), 12)], []byte("emitter")) || !bytes.Contains(payload, []byte("uid")) && strings.HasPrefix(g.Channel, "socket.io-request"):
		return nil // emitters use another order of keys or omit the uid
	case bytes.HasPrefix(payload, []byte(`{"requestId"`)) && bytes.Contains(payload, []byte(`"rooms":[`)) && !bytes.Contains(payload, []byte(`"sockets"`)):
		return nil // all rooms
	}
	return payload
}

func TestHostileMessages(t *testing.T) {
	for channel, payloads := range map[string][]string{
		"socket.io#/#": {
			"", "{}", "\x93", "\x90", "\x92\xa1u\x80", "\x93\xa1u\x80\x80", "\x93\xa1u\xc0\xc0", "[]", "\x94\xa1u\xc0\xc0",
			"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1x\xc0", "\x93\xa1u\x82\xa4type\x03\xa4data\x91\xa1x\x80",
			"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xaadisconnect\x80", "\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1x\x80\x00",
		},
		"socket.io-request#/#": {
			"", "null", "{", "{}", `{"type":"2"}`, `{"type":99}`, `{"type":2}`, `{"type":2,"opts":[1],"rooms":[]}`, `{"type":2,"opts":{},"rooms":{}}`,
			`{"type":5,"opts":{}}`, `{"type":5,"requestId":"r"}`, `{"type":6}`, `{"type":6,"data":[{}]}`, `{"type":6,"data":"x"}`, `{"type":7,"requestId":"r","opts":{}}`,
			`{"type":7,"opts":{},"packet":{"type":2,"data":["x"]}}`, `{"type":0}`, `{"type":0,"requestId":"r","rooms":1}`, `{"type":1}`,
		},
		"socket.io-response#/#": {
			"", "[]", "{", `{"type":[]}`, `{"requestId":"r","sockets":{}}`, `{"requestId":"r","sockets":["id"]}`, `{"requestId":"r","type":8}`,
			`{"requestId":"r","type":8,"clientCount":-1}`, `{"requestId":"r","type":77}`,
		},
	} {
		for _, payload := range payloads {
			if m, err := decode(channel, []byte(payload)); !errors.Is(err, adapter.ErrMalformed) && !errors.Is(err, adapter.ErrUnknownType) {
				t.Errorf("%s: %q: got %+v, %v", channel, payload, m, err)
			}
		}
	}
}

// TestPHP receives messages of a PHP emitter. PHP has one type for arrays and maps: an empty map becomes an array.
func TestPHP(t *testing.T) {
	const event = "\x93\xa7emitter\x83\xa4type\x02\xa4data\x92\xa2hi\xa1x\xa3nsp\xa1/"
	b, n := newTestClassic("/", new(Options))
	s := n.Connect("s", "room")
	for name, opts := range map[string]string{
		"flags":                  "\x82\xa5rooms\x90\xa5flags\x90",
		"flags of a room":        "\x83\xa5rooms\x91\xa4room\xa6except\x90\xa5flags\x90",
		"options":                "\x90",
		"options, 16-bit length": "\xdc\x00\x00",
	} {
		b.handleBroadcast("socket.io#/#", []byte(event+opts))
		if got := s.Take(); !slices.Equal(got, []string{`2["hi","x"]`}) {
			t.Errorf("empty %s: got %q", name, got)
		}
	}
	b.handleBroadcast("socket.io#/#", []byte(event+"\x82\xa5rooms\x90\xa5flags\x91\x01"))
	if got := s.Take(); len(got) > 0 || n.Stats().Malformed != 1 {
		t.Errorf("flags that are an array: got %q, %+v", got, n.Stats())
	}
}

// TestNestedAndTruncated decodes messages that are nested deeper than any stack, and every beginning of valid ones.
func TestNestedAndTruncated(t *testing.T) {
	const deep = 1 << 20
	arrays, maps := strings.Repeat("\x91", deep)+"\xc0", strings.Repeat("\x81\xa1k", deep)+"\xc0"
	for _, nested := range []string{arrays, maps} {
		for name, payload := range map[string]string{
			"whole":     nested,
			"uid":       "\x93" + nested,
			"packet":    "\x93\xa1u\x81\xa1x" + nested,
			"event":     "\x93\xa1u\x82\xa4type\x02\xa4data\x92\xa1x" + nested + "\x80",
			"options":   "\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1x" + nested,
			"a surplus": "\x94\xa1u\x82\xa4type\x02\xa4data\x91\xa1x\x80" + nested,
		} {
			if _, err := decodeBroadcast([]byte(payload)); !errors.Is(err, adapter.ErrMalformed) {
				t.Errorf("%s: %v, want ErrMalformed", name, err)
			}
		}
	}
	for _, file := range []string{"classic.jsonl", "emitter.jsonl"} {
		for _, g := range adaptertest.ReadGolden[adaptertest.Golden](t, "testdata/"+file) {
			payload := g.Payload(t)
			for n := range payload {
				if m, err := decode(g.Channel, bytes.Clone(payload[:n])); err == nil {
					t.Fatalf("%s: the first %d of %d bytes are decoded to %+v", g.ID, n, len(payload), m)
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	channels := []string{"socket.io#/#", "socket.io-request#/#", "socket.io-response#/#"}
	for _, file := range []string{"classic.jsonl", "emitter.jsonl"} {
		for _, g := range adaptertest.ReadGolden[adaptertest.Golden](f, "testdata/"+file) {
			for i := range channels {
				f.Add(uint8(i), g.Payload(f))
			}
		}
	}
	b, _ := newTestClassic("/", new(Options))
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		channel := channels[int(which)%len(channels)]
		m, err := decode(channel, payload)
		if err != nil {
			if !errors.Is(err, adapter.ErrMalformed) && !errors.Is(err, adapter.ErrUnknownType) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		if m == nil || m.Type == 0 {
			return
		}
		m.Namespace = "/"
		out, err := b.Encode(m)
		if err != nil {
			t.Fatalf("%q: %v", payload, err)
		}
		again, err := decode(out.Channel, out.Payload)
		if err != nil {
			t.Fatalf("%q, encoded as %q: %v", payload, out.Payload, err)
		}
		again.Namespace = "/"
		twice, err := b.Encode(again)
		if err != nil || !bytes.Equal(out.Payload, twice.Payload) {
			t.Errorf("%q is encoded as %q and then as %q, %v", payload, out.Payload, twice.Payload, err)
		}
	})
}

func BenchmarkEncodeBroadcast(b *testing.B) {
	m := adapter.Message{
		Type: adapter.MessageBroadcast, UID: "0c0310a29557d6df", Namespace: "/",
		Options: adapter.Options{Rooms: []string{"room"}},
	}
	m.Value.Data = []byte(`["message",{"text":"` + strings.Repeat("x", 100) + `"}]`)
	b.ReportAllocs()
	for b.Loop() {
		encodeBroadcast(&m)
	}
}

func BenchmarkDecodeBroadcast(b *testing.B) {
	m := adapter.Message{
		Type: adapter.MessageBroadcast, UID: "0c0310a29557d6df", Namespace: "/",
		Options: adapter.Options{Rooms: []string{"room"}},
	}
	m.Value.Data = []byte(`["message",{"text":"` + strings.Repeat("x", 100) + `"}]`)
	payload := encodeBroadcast(&m)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeBroadcast(payload); err != nil {
			b.Fatal(err)
		}
	}
}
