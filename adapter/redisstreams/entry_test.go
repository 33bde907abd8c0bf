package redisstreams

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
)

// golden is recorded data of a Node.js server or emitter: an entry, a message on a channel, or a session.
type golden struct {
	ID string

	Stream string
	Fields []string

	Command, Channel, Hex string

	Key, Value string
	PX         int64
}

// entry returns g as the entry that Redis would return.
func (g *golden) entry() *entry {
	values := make(map[string]any)
	for i := 0; i < len(g.Fields); i += 2 {
		values[g.Fields[i]] = g.Fields[i+1]
	}
	return newEntry(&redis.XMessage{ID: "1-0", Values: values})
}

// notReceiving is a backend whose node receives nothing.
type notReceiving struct{ *backend }

func (b notReceiving) Start(n adapter.Node) { b.node = n }

// newTestBackend returns an unconnected backend.
func newTestBackend(namespace string, o *Options) (b *backend) {
	f := newFactory(nil, o.withDefaults())
	n := adaptertest.NewNode(namespace)
	n.Kept = new(adapter.RecoveryOptions)
	b = newBackend(f, namespace)
	n.Adapter = adapter.NewCluster(n, nil, notReceiving{b})
	return b
}

// TestGolden decodes messages of Node.js servers and emitters and encodes them again to the same command.
func TestGolden(t *testing.T) {
	for _, g := range adaptertest.ReadGolden[golden](t, "testdata/streams.jsonl", "testdata/sharded.jsonl", "testdata/recovery.jsonl", "testdata/emitter.jsonl") {
		t.Run(g.ID, func(t *testing.T) {
			switch {
			case g.Stream != "":
				testGoldenEntry(t, &g)
			case g.Channel != "":
				testGoldenMessage(t, &g)
			default:
				testGoldenSession(t, &g)
			}
		})
	}
}

func testGoldenEntry(t *testing.T, g *golden) {
	e := g.entry()
	m, err := e.decode()
	if err != nil {
		t.Fatal(err)
	}
	if e.uid == adapter.EmitterUID {
		return // emitters use another order of keys
	}
	want := slices.Clone(g.Fields)
	switch g.ID {
	case "emit-date-and-binary":
		want[7] = dateAsText(t, want[7])
	case "emit-arraybuffer":
		// The library of Node.js servers encodes it as an empty object, which is not binary data here.
		want[7] = `{"packet":{"type":2,"data":["ab",{}]},"opts":{"rooms":[],"except":[],"flags":{}}}`
	case "emit-socket-ack":
		// Other nodes do not need the id of the acknowledgement.
		want[7] = strings.Replace(want[7], `,"id":0`, "", 1)
	}
	b := newTestBackend(e.namespace, new(Options))
	out, err := b.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	want[1] = b.node.UID()
	got := fmt.Sprintf("%s", b.command(t.Context(), &out).Args())
	if want := fmt.Sprintf("%s", append([]any{"xadd", "socket.io", "maxlen", "~", int64(10_000), "*"}, anys(want)...)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// anys returns fields as arguments of a command. The type is a number.
func anys(fields []string) (list []any) {
	for i, f := range fields {
		switch {
		case i == 5:
			list = append(list, int(f[0]-'0'))
		default:
			list = append(list, f)
		}
	}
	return list
}

// dateAsText replaces the date in data by its text, because only JavaScript knows the type.
func dateAsText(t *testing.T, data string) string {
	packed, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(packed, []byte{0xd7, 0xff})
	if i < 0 {
		t.Fatal("no date in it")
	}
	text := append([]byte{0xa0 | 24}, "2023-11-14T22:13:20.123Z"...)
	return base64.StdEncoding.EncodeToString(bytes.Join([][]byte{packed[:i], packed[i+10:]}, text))
}

func testGoldenMessage(t *testing.T, g *golden) {
	payload := adaptertest.Unhex(t, g.Hex)
	m, err := adapter.DecodeMessage(payload)
	if err != nil {
		t.Fatal(err)
	}
	if parts := strings.Split(g.Channel, "#"); len(parts) == 4 {
		m.To = parts[2] // an answer does not contain its receiver
	}
	b := newTestBackend(m.Namespace, &Options{ShardedPubSub: g.Command == "spublish"})
	out, err := b.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%q", b.command(t.Context(), &out).Args()), fmt.Sprintf("%q", []any{g.Command, g.Channel, payload}); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func testGoldenSession(t *testing.T, g *golden) {
	s, err := decodeSession(g.Value)
	if err != nil {
		t.Fatal(err)
	}
	if data := string(s.Data.(json.RawMessage)); data != `{"user":"u1","blob":{"type":"Buffer","data":[1,2]}}` {
		t.Errorf("data: %s", data)
	}
	if s.ID != "BVJX0ipkrf9t6TFOAAAA" || s.PID != "CtQXvOJm9b9DYWP5AAAB" || !slices.Equal(s.Rooms, []string{s.ID, "room1"}) {
		t.Errorf("got %+v", s)
	}
	packed, _ := base64.StdEncoding.DecodeString(g.Value)
	blob := []byte("\xa4blob\xc4\x02\x01\x02")
	if !bytes.HasSuffix(packed, blob) {
		t.Fatalf("no binary data at the end of %q", packed)
	}
	// Outside this process, data is text.
	packed = bytes.Replace(bytes.TrimSuffix(packed, blob), []byte("\xa4data\x82"), []byte("\xa4data\x81"), 1)
	s.Data = map[string]string{"user": "u1"}
	b := newTestBackend("/", new(Options))
	value, err := encodeSession(s)
	if err != nil {
		t.Fatal(err)
	}
	out := adapter.Outgoing{Type: sessionType, Channel: b.sessionKey(s.PID), Payload: value}
	want := []any{"set", g.Key, base64.StdEncoding.EncodeToString(packed), "px", g.PX}
	if got := fmt.Sprintf("%s", b.command(t.Context(), &out).Args()); got != fmt.Sprintf("%s", want) {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// TestLegacy decodes entries of versions 0.1 and 0.2, which write all messages to the stream.
func TestLegacy(t *testing.T) {
	for _, g := range adaptertest.ReadGolden[golden](t, "testdata/legacy.jsonl") {
		e := g.entry()
		m, err := e.decode()
		if err != nil {
			t.Errorf("%s: %v", g.ID, err)
			continue
		}
		if e.data == "" {
			continue
		}
		if got := string(appendData(nil, m)); got != e.data {
			t.Errorf("%s:\n got %s\nwant %s", g.ID, got, e.data)
		}
	}
}

func TestHostileEntries(t *testing.T) {
	broadcast := `{"packet":{"type":2,"data":["x"]},"opts":{"rooms":[],"except":[],"flags":{}}}`
	for _, test := range [][2]string{ // type, data
		{"", ""}, {"", broadcast}, {"3", ""}, {"x", broadcast}, {"-3", broadcast}, {"3.0", broadcast}, {"0", broadcast}, {"14", broadcast}, {"259", broadcast},
		{"99999999999999999999", broadcast}, {"3", "{"}, {"3", "{}"}, {"3", "null"}, {"3", "[]"}, {"3", broadcast + "x"}, {"3", " " + broadcast},
		{"3", "!"}, {"3", "gA"}, {"3", "gA=="}, {"3", "wQ=="}, {"3", "ew=="}, {"3", base64.StdEncoding.EncodeToString([]byte("\x82\xa6packet\xc0"))},
		{"3", `{"packet":{"type":2,"data":[]}}`}, {"3", `{"packet":{"type":2,"data":["disconnect"]}}`}, {"3", `{"packet":{"type":5,"data":["x"]}}`},
		{"3", `{"packet":{"type":2,"data":["x"]},"opts":7}`}, {"4", `{"rooms":{},"opts":{}}`}, {"7", `{"opts":{}}`}, {"8", `{}`},
	} {
		e := newEntry(&redis.XMessage{ID: "1-0", Values: map[string]any{"uid": "u", "nsp": "/", "type": test[0], "data": test[1]}})
		if m, err := e.decode(); !errors.Is(err, adapter.ErrMalformed) && !errors.Is(err, adapter.ErrUnknownType) {
			t.Errorf("%q: got %+v, %v", test, m, err)
		}
	}
	e := newEntry(&redis.XMessage{Values: map[string]any{"uid": 1, "nsp": nil, "type": []byte("3")}})
	if *e != (entry{}) {
		t.Errorf("fields that are no text: %+v", e)
	}
}

func TestHostileSessions(t *testing.T) {
	packed := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, value := range []string{
		"", "x", "{}", "gA==", packed("\xc0"), packed("\x90"), packed("\x81\xa3sid\xa1a"), packed("\x81\xa3pid\xa1a"),
		packed("\x82\xa3sid\x01\xa3pid\xa1a"), packed("\x82\xa3sid\xa0\xa3pid\xa1a"), packed("\x82\xa3sid\xa2a\"\xa3pid\xa1a"),
		packed("\x83\xa3sid\xa1a\xa3pid\xa1a\xa5rooms\x80"), packed("\x82\xa3sid\xa1a\xa3pid\xa1a\x00"),
		packed("\x82\xa3sid\xd9\xff" + strings.Repeat("a", 255) + "\xa3pid\xa1a"),
	} {
		if s, err := decodeSession(value); !errors.Is(err, adapter.ErrMalformed) {
			t.Errorf("%q: got %+v, %v", value, s, err)
		}
	}
}

func TestPosition(t *testing.T) {
	for _, id := range []string{"", "-", "1", "1-", "-1", "a-1", "1-b", "1-1-1", "+1-1", "1- 1", "18446744073709551616-0"} {
		if p, ok := parsePosition(id); ok {
			t.Errorf("%q: got %v", id, p)
		}
	}
	ordered := []string{"0-0", "0-1", "0-18446744073709551615", "1-0", "1-2", "18446744073709551615-0"}
	for i, a := range ordered {
		p, ok := parsePosition(a)
		if !ok || p.String() != a {
			t.Errorf("%s: got %v, %v", a, p, ok)
		}
		for k, b := range ordered {
			if q, _ := parsePosition(b); p.before(q) != (i < k) {
				t.Errorf("%s before %s: %v", a, b, p.before(q))
			}
		}
	}
	for id, next := range map[string]string{"0-0": "0-1", "5-18446744073709551615": "6-0"} {
		if p, _ := parsePosition(id); p.next().String() != next {
			t.Errorf("behind %s: got %v", id, p.next())
		}
	}
}

// TestStreamOf compares with names computed by Node.js servers.
func TestStreamOf(t *testing.T) {
	for _, test := range []struct {
		namespace string
		count     int
		want      string
	}{
		{"/", 1, "s"}, {"/", 2, "s-1"}, {"/admin", 10, "s-8"}, {"/chat", 1000, "s-863"}, {"/foo", 7, "s-6"},
		{"/my-namespace", 2, "s--1"}, {"/my-namespace", 3, "s-0"},
	} {
		if got := streamOf(test.namespace, &Options{StreamName: "s", StreamCount: test.count}); got != test.want {
			t.Errorf("%s of %d: got %s, want %s", test.namespace, test.count, got, test.want)
		}
	}
}

func FuzzEntry(f *testing.F) {
	for _, g := range adaptertest.ReadGolden[golden](f, "testdata/streams.jsonl", "testdata/sharded.jsonl", "testdata/recovery.jsonl", "testdata/emitter.jsonl", "testdata/legacy.jsonl") {
		if g.Stream != "" {
			e := g.entry()
			f.Add(e.kind, e.data)
		}
	}
	b := newTestBackend("/", new(Options))
	f.Fuzz(func(t *testing.T, kind, data string) {
		e := &entry{id: "1-1", uid: "u", namespace: "/", kind: kind, data: data}
		m, err := e.decode()
		if err != nil {
			if !errors.Is(err, adapter.ErrMalformed) && !errors.Is(err, adapter.ErrUnknownType) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		if isTransient(m) {
			return
		}
		out, err := b.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := (&entry{id: "1-1", uid: "u", namespace: "/", kind: kind, data: string(out.Payload)}).decode()
		if err != nil {
			t.Fatalf("%q, encoded as %q: %v", data, out.Payload, err)
		}
		if twice, err := b.Encode(again); err != nil || !bytes.Equal(out.Payload, twice.Payload) {
			t.Errorf("%q is encoded as %q and then as %q, %v", data, out.Payload, twice.Payload, err)
		}
		if p := b.packetFor(&adapter.Session{Rooms: m.Options.Rooms}, e); p != nil && !adapter.IsEvent(p.Data) {
			t.Errorf("%q: a client would be sent %q", data, p.Data)
		}
	})
}

func FuzzSession(f *testing.F) {
	for _, g := range adaptertest.ReadGolden[golden](f, "testdata/recovery.jsonl") {
		if g.Value != "" {
			f.Add(g.Value)
		}
	}
	f.Fuzz(func(t *testing.T, value string) {
		s, err := decodeSession(value)
		if err != nil {
			if !errors.Is(err, adapter.ErrMalformed) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		encoded, err := encodeSession(s)
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		again, err := decodeSession(string(encoded))
		if err != nil || again.ID != s.ID || again.PID != s.PID || len(again.Rooms) != len(s.Rooms) {
			t.Errorf("%q is %+v and then %+v, %v", value, s, again, err)
		}
	})
}
