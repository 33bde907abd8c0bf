package postgres

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
)

// golden is a notification of a Node.js server or emitter. Attachment is the attachment in hexadecimal, or "".
type golden struct {
	ID, Channel, JSON, Attachment string
}

func (g *golden) payload(t testing.TB) []byte {
	if g.Attachment == "" {
		return []byte(g.JSON)
	}
	return adaptertest.Unhex(t, g.Attachment)
}

// TestGolden decodes messages of Node.js and encodes them again. For messages of servers, the bytes must be the same.
func TestGolden(t *testing.T) {
	for _, g := range adaptertest.ReadGolden[golden](t, "testdata/postgres.jsonl") {
		payload := g.payload(t)
		m, err := adapter.DecodeMessage(payload)
		if err != nil {
			t.Errorf("%s: %v", g.ID, err)
			continue
		}
		ref, referred, err := decodeReference([]byte(g.JSON))
		if err != nil || referred != (g.Attachment != "") {
			t.Errorf("%s: it is one of an attachment: %v, %v", g.ID, referred, err)
		}
		if referred {
			head := appendReferenceHead(nil, m.UID, m.Type)
			if got := string(head) + "0123456789"[ref.id:ref.id+1] + `"}`; got != g.JSON || ref.uid != m.UID || ref.kind != m.Type && m.UID != adapter.EmitterUID {
				t.Errorf("%s: got %s of %s, want %s", g.ID, got, ref.uid, g.JSON)
			}
		}
		if m.UID == adapter.EmitterUID {
			if m.Namespace != "" {
				t.Errorf("%s: namespace %q", g.ID, m.Namespace)
			}
			continue // emitters use another order of keys
		}
		if m.Namespace != strings.TrimPrefix(g.Channel, "socket.io#") {
			t.Errorf("%s: namespace %q on channel %q", g.ID, m.Namespace, g.Channel)
		}
		if got := encode(m, 8000); !bytes.Equal(got, payload) {
			t.Errorf("%s:\n got %q\nwant %q", g.ID, got, payload)
		}
	}
}

// TestEncodeSizes encodes messages around the lengths from which they use the table.
func TestEncodeSizes(t *testing.T) {
	for _, test := range []struct {
		threshold, size int
		notification    bool
	}{
		{8000, 7999, true}, {8000, 8000, false}, {1 << 30, 7999, true}, {1 << 30, 8000, false}, {500, 500, true}, {500, 501, false},
	} {
		for _, letter := range []string{"x", "é"} {
			m := &adapter.Message{Type: adapter.MessageServerSideEmit, UID: "u", Namespace: "/"}
			m.Value.Data = []byte(`[""]`)
			space := test.size - len(m.Append(nil))
			m.Value.Data = []byte(`["` + strings.Repeat(letter, space/len(letter)) + strings.Repeat("y", space%len(letter)) + `"]`)
			if got := len(m.Append(nil)); got != test.size {
				t.Fatalf("%d bytes, want %d", got, test.size)
			}
			payload := encode(m, test.threshold)
			if isNotification(payload) != test.notification {
				t.Errorf("%d bytes of %q, threshold %d: notification %v", test.size, letter, test.threshold, !test.notification)
			}
			again, err := adapter.DecodeMessage(payload)
			if err != nil || !bytes.Equal(again.Value.Data, m.Value.Data) {
				t.Errorf("%d bytes of %q: %v", test.size, letter, err)
			}
		}
	}
}

// TestEncodeInvalidUTF8 encodes text of a client that PostgreSQL would reject.
func TestEncodeInvalidUTF8(t *testing.T) {
	m := &adapter.Message{Type: adapter.MessageServerSideEmit, UID: "u", Namespace: "/"}
	m.Value.Data = []byte("[\"a\xffb\xed\xa0\x80\"]")
	if got, want := string(encode(m, 8000)), `{"type":9,"data":{"packet":["a�b�"]},"uid":"u","nsp":"/"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCheckChannel(t *testing.T) {
	for name, ok := range map[string]bool{
		"socket.io#/": true, "socket.io#/" + strings.Repeat("x", 52): true, "socket.io#/" + strings.Repeat("x", 53): false,
		"socket.io#/" + strings.Repeat("é", 26): true, "socket.io#/" + strings.Repeat("é", 27): false, "a\x00b": false, "a\xff": false,
		`"; DROP TABLE x; --`: true,
	} {
		if err := checkChannel(name); (err == nil) != ok || err != nil && !errors.Is(err, errChannel) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestDecodeReference(t *testing.T) {
	for text, want := range map[string]reference{
		`{"uid":"u","type":3,"attachmentId":"1"}`: {"u", 3, 1},
		`{"attachmentId":7}`:                      {"", 0, 7},
		`{"uid":"emitter","attachmentId":"9223372036854775807","x":[{"nodeId":"ab"}]}`: {"emitter", 0, 1<<63 - 1},
		`{"type":300,"attachmentId":7}`:  {"", 0, 7},
		`{"type":"8","attachmentId":7}`:  {"", 0, 7},
		`{"type":12.0,"attachmentId":7}`: {"", 12, 7},
	} {
		got, ok, err := decodeReference([]byte(text))
		if !ok || err != nil || got != want {
			t.Errorf("%s: got %v, %v, %v", text, got, ok, err)
		}
	}
	for _, text := range []string{
		`{"attachmentId":}`, `{"attachmentId":null}`, `{"attachmentId":""}`, `{"attachmentId":"1 OR true"}`, `{"attachmentId":[1]}`,
		`{"attachmentId":1.5}`, `{"attachmentId":"9223372036854775808"}`, `{"attachmentId":"1"`, `["attachmentId"]`, `"attachmentId"`,
		``, ` {}`, "\xb2xx\"attachmentId\"xx", "\x81\xaeattachmentId\x01",
	} {
		if got, ok, err := decodeReference([]byte(text)); !errors.Is(err, adapter.ErrMalformed) || ok {
			t.Errorf("%s: got %v, %v, %v", text, got, ok, err)
		}
	}
	for _, text := range []string{`{}`, `{"type":9,"data":{"packet":["\"attachmentId\""]}}`, `{"type":9,"data":{"packet":["e",{"attachmentId":"1"}]}}`} {
		if got, ok, err := decodeReference([]byte(text)); ok || err != nil {
			t.Errorf("%s: got %v, %v, %v", text, got, ok, err)
		}
	}
}

// FuzzDecode decodes arbitrary notifications and attachments.
func FuzzDecode(f *testing.F) {
	for _, g := range adaptertest.ReadGolden[golden](f, "testdata/postgres.jsonl") {
		f.Add([]byte(g.JSON))
		f.Add(g.payload(f))
	}
	f.Add([]byte(`{"attachmentId":9,"uid":"u","type":300}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if ref, ok, err := decodeReference(payload); err != nil && !errors.Is(err, adapter.ErrMalformed) || ok && err != nil {
			t.Errorf("%q: got %v, %v, %v", payload, ref, ok, err)
		}
		m, err := adapter.DecodeMessage(payload)
		if err != nil {
			return
		}
		m.Namespace = "/"
		for _, threshold := range []int{1, 8000} {
			sent := encode(m, threshold)
			if isNotification(sent) && len(sent) > min(threshold, maxPayload) {
				t.Fatalf("%q: a notification of %d bytes", payload, len(sent))
			}
			again, err := adapter.DecodeMessage(sent)
			if err != nil {
				t.Fatalf("%q, encoded as %q: %v", payload, sent, err)
			}
			if twice := encode(again, threshold); !bytes.Equal(sent, twice) {
				t.Errorf("%q is encoded as %q and then as %q", payload, sent, twice)
			}
		}
	})
}
