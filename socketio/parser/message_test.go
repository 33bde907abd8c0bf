package parser

import (
	"bytes"
	"strings"
	"testing"
)

// sent returns the text and the attachments of the message that carries p.
func sent(t *testing.T, ps Parser, p *Packet) (text string, binary [][]byte) {
	t.Helper()
	m, err := EncodeMessage(ps, p)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := m.Text()
	text = string(b)
	for _, b := range m.Binary() {
		binary = append(binary, bytes.Clone(b))
	}
	if m != p.Message {
		m.Release()
	}
	return text, binary
}

func TestArgumentsAreWrittenOnce(t *testing.T) {
	long := "/" + strings.Repeat("n", 100)
	for _, c := range []struct {
		name   string
		change func(*Packet)
		want   string
	}{
		{"event", func(*Packet) {}, `51-/chat,["e","text",` + ph0 + `]`},
		{"with an id", func(p *Packet) { p.ID, p.HasID = 123, true }, `51-/chat,123["e","text",` + ph0 + `]`},
		{"with an offset", func(p *Packet) { p.AppendString(`o"1`) }, `51-/chat,["e","text",` + ph0 + `,"o\"1"]`},
		{"with a long offset", func(p *Packet) { p.AppendString(long + long) }, `51-/chat,["e","text",` + ph0 + `,"` + long + long + `"]`},
		{"in a namespace with a long name", func(p *Packet) { p.Namespace = long }, `51-` + long + `,["e","text",` + ph0 + `]`},
		{"in the main namespace", func(p *Packet) { p.Namespace = "/" }, `51-["e","text",` + ph0 + `]`},
	} {
		p, err := NewEvent("/chat", "e", []any{"text", []byte{7}})
		if err != nil {
			t.Fatal(err)
		}
		c.change(p)
		text, binary := sent(t, Default, p)
		if text != c.want || len(binary) != 1 || binary[0][0] != 7 {
			t.Errorf("%s: %s %x, want %s", c.name, text, binary, c.want)
		}
		if m, _ := EncodeMessage(Default, &Packet{Message: p.Message}); m == p.Message {
			t.Errorf("%s: a message is used for other data", c.name)
		}
		if !Valid(p.Data) || !strings.HasSuffix(c.want, string(p.Data)) {
			t.Errorf("%s: the data has become %s", c.name, p.Data)
		}
		if !strings.HasPrefix(c.name, "in a namespace") {
			if b, _ := p.Message.Text(); &b[len(b)-1] != &p.Data[len(p.Data)-1] {
				t.Errorf("%s: the arguments have been copied", c.name)
			}
		}
		if again, _ := sent(t, Default, p); again != c.want {
			t.Errorf("%s: encoded again as %s", c.name, again)
		}
		p.Release()
	}
}

func TestNewAck(t *testing.T) {
	p, err := NewAck("/", 7, []any{1, []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	if text, binary := sent(t, Default, p); text != `61-7[1,`+ph0+`]` || len(binary) != 1 {
		t.Errorf("%s %x", text, binary)
	}
	for _, err := range []error{
		second(NewEvent("/", "e", []any{func() {}})), second(NewAck("/", 0, []any{func() {}})),
		second(EncodeMessage(Default, &Packet{Type: BinaryEvent})),
	} {
		if err == nil {
			t.Error("no error")
		}
	}
	p.Type = BinaryAck
	if _, err := EncodeMessage(Default, p); err == nil {
		t.Error("no error")
	}
}

func second[T any](_ T, err error) error { return err }

// A packet from elsewhere, a copy with other data, and a packet in another format are each encoded into a separate
// message.
func TestEncodeMessageCopies(t *testing.T) {
	p, err := NewEvent("/chat", "e", []any{"text"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	kept := p.Clone()
	changed := *p
	changed.Data = []byte(`["changed"]`)
	for _, c := range []struct {
		packet *Packet
		want   string
	}{
		{&changed, `2/chat,["changed"]`}, {&kept, `2/chat,["e","text"]`}, {&Packet{Type: Disconnect}, `1`},
		{&Packet{Type: Event, Data: []byte(`["a"]`)}, `2["a"]`},
	} {
		m, err := EncodeMessage(Default, c.packet)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := m.Text(); string(text) != c.want || m == p.Message {
			t.Errorf("%s, want %s", text, c.want)
		}
		m.Release()
	}
	kept.AppendString("offset")
	if string(kept.Data) != `["e","text","offset"]` || string(p.Data) != `["e","text"]` {
		t.Errorf("%s, and the original %s", kept.Data, p.Data)
	}
	mp := NewMessagePack(nil)
	text, binary := sent(t, mp, p)
	_, want, _ := mp.Encode(nil, p)
	if text != "" || len(binary) != 1 || !bytes.Equal(binary[0], want[0]) {
		t.Errorf("%q %x, want %x", text, binary, want)
	}
	if got, _ := sent(t, Default, p); got != `2/chat,["e","text"]` {
		t.Error(got)
	}
}
