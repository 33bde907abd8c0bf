package epoll

import (
	"bytes"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/transport"
)

// TestLabels blocks handlers and inspects the goroutine profile.
func TestLabels(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		k.options.Loops = 1
		release := make(chan struct{})
		r := newRecorder()
		r.onMessage = func(transport.Conn, []byte) bool { return true }
		r.onRun = func(transport.Conn) { <-release }
		ts := serve(t, k, func(c *Conn) { c.Start(r) })
		defer close(release)

		first, second := ts.dial(t), ts.dial(t)
		first.send(text("block"))
		want := []string{"worker", "connection"}
		if onEpoll(k) {
			// The first handler blocks on the loop, so the next one is given a goroutine.
			eventually(t, "the loop is taken over", func() bool { return ts.takeovers.Load() > 0 })
			want = []string{"worker", "event loop", "guard"}
		}
		second.send(text("block"))
		for _, label := range want {
			eventually(t, "a goroutine with the label "+label, func() bool {
				var profile bytes.Buffer
				if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
					t.Fatal(err)
				}
				return strings.Contains(profile.String(), `"myriad":"`+label+`"`)
			})
		}
	})
}
