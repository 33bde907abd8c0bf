package epoll

import (
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/transport"
)

// TestBudget: queued bytes count until they are written or dropped, and a message in several queues counts once.
func TestBudget(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.options.Budget = transport.NewBudget(1<<30, nil)
		used := func(n int64) func() bool {
			return func() bool { return k.options.Budget.Used() == n }
		}
		ts := serve(t, k, echo)
		ts.dial(t)
		ts.dial(t)
		first, second := startedConn(t, ts), startedConn(t, ts)
		eventually(t, "the handshakes are written", used(0))
		shared := transport.TextMessage(strings.Repeat("s", 1000))
		for _, c := range []*Conn{first, second} {
			c.Cork()
			_ = c.Send(shared)
			_ = c.SendText(strings.Repeat("c", 100))
		}
		if want := int64(1000 + 2*(2+100)); !used(want)() {
			t.Errorf("%d bytes are counted, want %d", k.options.Budget.Used(), want)
		}
		first.Uncork()
		eventually(t, "one queue is written", used(1000+2+100))
		second.Abort()
		eventually(t, "the other is dropped", used(0))
	})
}
