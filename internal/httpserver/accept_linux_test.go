package httpserver

import (
	"fmt"
	"testing"
)

// TestLargeHeadersAreForgotten recycles handshakes with many header fields: clearing a map that has grown is slow,
// however few fields the next request has.
func TestLargeHeadersAreForgotten(t *testing.T) {
	for range 100 {
		h := handshakes.Get().(*handshake)
		for i := range 1000 {
			h.request.Header[fmt.Sprint("Field-", i)] = []string{"x"}
		}
		h.recycle()
		next := handshakes.Get().(*handshake)
		if next == h {
			t.Fatal("a handshake with 1000 fields is used again")
		}
		next.recycle()
	}
}
