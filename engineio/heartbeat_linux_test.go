package engineio

import (
	"sync"
	"testing"
)

// TestBusyLoopKeepsAnsweringClients lets the heartbeats expire while the loop that must read the answers is busy with
// another session. Clients that have answered are not timed out.
func TestBusyLoopKeepsAnsweringClients(t *testing.T) {
	beats := make(chan struct{}, 10)
	f := serve(t, Options{Loops: 1, Hooks: &Hooks{Heartbeat: func(*Session) { beats <- struct{}{} }}})
	busy, idle := make(chan struct{}), make(chan struct{})
	free := sync.OnceFunc(func() { close(idle) })
	t.Cleanup(free)
	blocker, _ := f.open()
	f.session().on = func([]byte, bool) bool {
		close(busy)
		<-idle
		return false
	}
	answers, _ := f.open()
	alive := f.session()
	_, _ = f.open()
	silent := f.session()

	blocker.write("4")
	<-busy
	expire(alive.s, silent.s) // pings
	answers.want("2")
	answers.write("3")
	eventually(t, "the answer comes", alive.s.conn.Unread)
	expire(alive.s, silent.s)
	silent.expect(t, PingTimeout, "nil")
	if alive.s.State() != StateOpen {
		t.Fatal("closed although the answer only had to be read")
	}
	free()
	<-beats // the answer is read

	expire(alive.s)
	answers.want("2")
	expire(alive.s)
	alive.expect(t, PingTimeout, "nil")
}

// expire makes the heartbeats of sessions expire now.
func expire(sessions ...*Session) {
	for _, s := range sessions {
		(*heartbeat)(s).Expire()
	}
}
