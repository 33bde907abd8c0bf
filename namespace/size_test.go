package namespace

import (
	"testing"
	"unsafe"
)

func TestSocketIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Socket{}); n > 128 {
		t.Errorf("a Socket has %d bytes, want at most 128", n)
	}
	if n := unsafe.Sizeof(Queue{}); n > 32 {
		t.Errorf("a Queue has %d bytes, want at most 32", n)
	}
}
