package transport

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// upper is a Deflater that can be recognized and counts its calls.
type upper struct{ calls atomic.Int32 }

func (u *upper) Deflate(frames []byte) []byte {
	u.calls.Add(1)
	return bytes.ToUpper(frames)
}

func TestDeflatedIsMadeOnce(t *testing.T) {
	m := NewMessage()
	m.SetText(append(m.Buffer(), "text"...))
	m.SetBinary([]byte("attachment"))
	m = m.Share()
	deflaters := []*upper{new(upper), new(upper)}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				for _, d := range deflaters {
					for f := range Format(formats) {
						if got, want := m.Deflated(f, d), bytes.ToUpper(m.Frames(f)); !bytes.Equal(got, want) {
							t.Errorf("format %d: %q, want %q", f, got, want)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	for _, d := range deflaters {
		if n := d.calls.Load(); n != formats {
			t.Errorf("called %d times for %d formats", n, formats)
		}
	}
}

func TestDeflatedTextIsTheSameInAllFormats(t *testing.T) {
	m, d := TextMessage("text"), new(upper)
	first := m.Deflated(FormatV4, d)
	for f := range Format(formats) {
		if got := m.Deflated(f, d); &got[0] != &first[0] {
			t.Errorf("format %d has a text of its own", f)
		}
	}
	if n := d.calls.Load(); n != 1 {
		t.Errorf("called %d times", n)
	}
}

func frames(m *Message) (all [formats]string) {
	for f := range Format(formats) {
		all[f] = string(m.Frames(f))
	}
	return all
}

// TestShareIsACopy: a shared message has the same frames as the original, and shares nothing else with it.
func TestShareIsACopy(t *testing.T) {
	for _, text := range []string{"", "text", strings.Repeat("x", 200), strings.Repeat("y", 70000)} {
		for _, attachments := range [][][]byte{nil, {{1, 2}}, {{}, []byte(strings.Repeat("z", 130)), {3}}} {
			m := NewMessage()
			m.NoCompress = true
			if text != "" || attachments == nil {
				m.SetText(append(m.Buffer(), text...))
			}
			var binary [][]byte
			for _, b := range attachments {
				binary = append(binary, bytes.Clone(b))
			}
			m.SetBinary(binary...)
			want, size := frames(m), m.Size()
			shared := m.Share()
			clear(m.data)
			for _, b := range binary {
				clear(b)
			}
			m.Release()
			if got := frames(shared); got != want {
				t.Errorf("frames %q, want %q", got, want)
			}
			if got, _ := shared.Text(); string(got) != text || shared.Size() != size || !shared.Shared() || !shared.NoCompress {
				t.Errorf("text %q, size %d, want %q, %d", got, shared.Size(), text, size)
			}
			for i, b := range shared.Binary() {
				if !bytes.Equal(b, attachments[i]) {
					t.Errorf("attachment %d is %x", i, b)
				}
			}
			if shared.Share() != shared {
				t.Error("a shared message is copied")
			}
		}
	}
}

func TestPrepend(t *testing.T) {
	for _, n := range []int{0, 1, Headroom - frameRoom, Headroom - frameRoom + 1, 300} {
		m := NewMessage()
		m.SetText(append(m.Buffer(), "text"...))
		before, _ := m.Text()
		head := strings.Repeat("h", n)
		m.Prepend(append(m.Room(), head...))
		want := TextMessage(head + "text")
		if got := m.Frames(FormatV4); string(got) != string(want.Frames(FormatV4)) {
			t.Errorf("%d bytes: %q", n, got)
		}
		if string(before) != "text" {
			t.Errorf("%d bytes: the text has become %q", n, before)
		}
		m.Release()
	}
}
