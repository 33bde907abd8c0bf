package transport

import (
	"bytes"
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
	m.Share()
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
