package socketio

import (
	"testing"
	"unsafe"
)

func TestClientIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(client{}); n > 96 {
		t.Errorf("a client has %d bytes, want at most 96", n)
	}
}
