package socketio

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/engineio"
)

// names returns the names of the events among packets, and the types of the others.
func names(packets []string) (all []string) {
	for _, p := range packets {
		name := p[:1]
		if p[0] == '2' {
			name, _, _ = strings.Cut(strings.TrimPrefix(p[strings.IndexByte(p, '['):], `["`), `"`)
		}
		all = append(all, name)
	}
	return all
}

func wantNames(t *testing.T, c *client, want ...string) {
	t.Helper()
	awaitSent(c, len(want))
	if got := names(c.sent()); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// awaitSent waits until n packets have been sent to c. Another goroutine than the emitting one may be sending them.
func awaitSent(c *client, n int) {
	for deadline := time.Now().Add(30 * time.Second); len(c.sent()) < n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// within fails the test if f does not return, because it waits for something that does not happen.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("deadlock")
	}
}

// TestFunctionsEmit broadcasts from each function of the application that is called during a send: the hooks of a session, with
// CONNECT and with an event, its end because it is too slow, and OnAnyOutgoing.
func TestFunctionsEmit(t *testing.T) {
	for _, recovery := range []*Recovery{nil, new(Recovery)} {
		t.Run(fmt.Sprint("recovery ", recovery != nil), func(t *testing.T) {
			server, _ := quietServer(t, Options{Recovery: recovery, MaxQueuedBytes: 4 << 10})
			n := server.root
			other := join(t, n, open(t, server))
			c := open(t, server)
			var closed sync.Once
			onPacket(c, func(text string) {
				if strings.HasPrefix(text, "0") || strings.Contains(text, "outer") {
					_ = n.Emit("hook")
				}
			})
			within(t, func() { join(t, n, c) })
			wantNames(t, c, "0", "hook")
			s := c.socket("/")
			s.OnAnyOutgoing(func(event string, _ Args) {
				if event == "outer" {
					_ = n.Emit("listener")
				}
			})
			within(t, func() { _ = n.Emit("outer") })
			if recovery == nil { // functions are called first
				wantNames(t, c, "0", "hook", "listener", "hook", "outer")
			} else { // but the order of offsets is settled before
				wantNames(t, c, "0", "hook", "outer", "listener", "hook")
			}
			hooks := &engineio.Hooks{Close: func(*engineio.Session, engineio.CloseReason, error) {
				closed.Do(func() { _ = n.Emit("end") })
			}}
			c.session.SetHooks(hooks)
			within(t, func() { _ = n.To(s.ID()).Emit("large", strings.Repeat("x", 8<<10)) })
			// A session that is too slow is ended on a goroutine of its own.
			for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
				got := names(other.client.sent())
				if got[len(got)-1] == "end" {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the other client is sent %q, want an event of the hook last", got)
				}
			}
		})
	}
}

// TestOrderWhileAnotherSends blocks, in a hook, the goroutine that sends a client a packet with an offset. Another goroutine
// emits, acknowledges, and disconnects the client without waiting for the hook. The client gets everything in order.
func TestOrderWhileAnotherSends(t *testing.T) {
	server, _ := quietServer(t, Options{Recovery: new(Recovery)})
	n := server.root
	c := open(t, server)
	s := join(t, n, c)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	onPacket(c, func(text string) {
		if strings.HasPrefix(text, `2["first"`) {
			once.Do(func() {
				close(entered)
				<-leave
			})
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Emit("first")
	}()
	<-entered
	within(t, func() {
		_ = n.Emit("second")
		_ = s.sendAck(7, nil)
		_ = n.To(s.ID()).Emit("last")
		s.Disconnect(true)
	})
	if c.session.State() != engineio.StateOpen {
		t.Error("the session is closed in front of what was sent")
	}
	wantNames(t, c, "0")
	close(leave)
	<-done
	wantNames(t, c, "0", "first", "second", "3", "last", "1")
	if c.session.State() == engineio.StateOpen {
		t.Error("the session is not closed")
	}
}

// TestGoexitWhileSending calls runtime.Goexit in a listener. The packets behind it in the line are still sent.
func TestGoexitWhileSending(t *testing.T) {
	server, _ := quietServer(t, Options{Recovery: new(Recovery)})
	c := open(t, server)
	s := join(t, server.root, c)
	s.OnAnyOutgoing(func(event string, _ Args) {
		if event == "first" {
			_ = s.Emit("second")
			runtime.Goexit()
		}
	})
	within(t, func() { _ = s.Emit("first") })
	awaitSent(c, 2)
	_ = s.Emit("third")
	wantNames(t, c, "0", "second", "third")
}

// TestLineEnds checks that a client whose packets have no offsets keeps no line.
func TestLineEnds(t *testing.T) {
	s, _ := connected(t)
	if s.client.line.Load() != nil {
		t.Error("there is a line after CONNECT")
	}
	_ = s.Emit("x")
	_ = s.Namespace().Emit("x")
	if s.client.line.Load() != nil {
		t.Error("there is a line after events")
	}
	wantNames(t, s.client, "0", "x", "x")
}
