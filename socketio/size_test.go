package socketio

import (
	"testing"
	"unsafe"
)

func TestStateIsSmall(t *testing.T) {
	for _, test := range []struct {
		name     string
		got, max uintptr
	}{
		{"client", unsafe.Sizeof(client{}), 96},
		{"Socket", unsafe.Sizeof(Socket{}), 128},
		{"queue", unsafe.Sizeof(queue{}), 32},
	} {
		if test.got > test.max {
			t.Errorf("a %s has %d bytes, want at most %d", test.name, test.got, test.max)
		}
	}
}
