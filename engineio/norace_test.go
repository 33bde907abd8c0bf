//go:build !race

package engineio

import "testing"

// The race detector makes pools drop entries, so allocations are counted without it: see make allocs.

func TestMessagesDoNotAllocate(t *testing.T) {
	s := echoSession(t)
	for name, data := range map[string]string{"message": `42["message",{"a":1}]`, "pong": "3", "noop": "6"} {
		b := []byte(data)
		if n := testing.AllocsPerRun(1000, func() { (*webSocketHandler)(s).HandleMessage(s.conn, b, false) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	pong := []byte("3")
	if n := testing.AllocsPerRun(1000, func() {
		(*heartbeat)(s).Expire()
		(*webSocketHandler)(s).HandleMessage(s.conn, pong, false)
	}); n > 0 {
		t.Errorf("heartbeat: %v allocations", n)
	}
}
