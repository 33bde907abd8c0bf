package bufpool

import "testing"

func TestLargeBuffersAreForgotten(t *testing.T) {
	var p Pool
	for range 100 {
		b := p.Get()
		b.B = append(b.B, make([]byte, 1<<20)...)
		p.Put(b)
		if b := p.Get(); cap(b.B) > maxKept {
			t.Fatalf("a buffer of %d bytes is kept", cap(b.B))
		} else {
			p.Put(b)
		}
	}
}
