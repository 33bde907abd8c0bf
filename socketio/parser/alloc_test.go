//go:build !race

package parser

import (
	"testing"

	"github.com/myriad-rt/myriad/transport"
)

// TestEmitAllocatesNothing cannot run under the race detector, which empties pools at random.
func TestEmitAllocatesNothing(t *testing.T) {
	args := []any{"text", 1, 2.5, true, nil}
	if n := testing.AllocsPerRun(100, func() {
		p, err := NewEvent("/chat", "message", args)
		if err != nil {
			t.Fatal(err)
		}
		m, err := EncodeMessage(Default, p)
		if err != nil || len(m.Frames(transport.FormatV4)) == 0 {
			t.Fatal(err)
		}
		p.Release()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
