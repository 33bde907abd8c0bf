package epoll

import (
	"bytes"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

func resting(s *Server) func() bool {
	return func() bool { return s.poller.Load().guard.resting.Load() }
}

func TestTimers(t *testing.T) {
	var list timers
	if !list.deadline().IsZero() {
		t.Error("an empty list has something to wait for")
	}
	const n = 5000
	for i := range n {
		list.add(uint32(i), 1, time.Minute)
	}
	if d := time.Until(list.deadline()); d > time.Minute {
		t.Errorf("first is due in %v", d)
	}
	for i := range n {
		if list.empty() || list.next().slot != uint32(i) {
			t.Fatalf("entry %d is missing", i)
		}
		list.drop()
		if len(list.entries)-list.first != n-1-i {
			t.Fatalf("%d entries are left", len(list.entries)-list.first)
		}
	}
	list.add(7, 1, -time.Second)
	if time.Until(list.deadline()) > 0 {
		t.Error("an entry that is due has to be waited for")
	}
}

// TestTable inserts and removes connections and looks up stale identities.
func TestTable(t *testing.T) {
	var conns table
	const n = 3 * pageSize
	all := make([]*Conn, n)
	for i := range all {
		all[i] = new(Conn)
		conns.insert(all[i])
	}
	slot, generation := all[5].slot, all[5].generation
	conns.remove(all[5])
	reused := new(Conn)
	conns.insert(reused)
	if reused.slot != slot {
		t.Errorf("slot %d is used, want %d", reused.slot, slot)
	}
	if conns.lookup(slot, generation) != nil || conns.lookup(reused.slot, reused.generation) != reused {
		t.Error("a reused slot is confused with the earlier one")
	}
	all[5] = reused
	if got := len(conns.all()); got != n {
		t.Errorf("%d connections, want %d", got, n)
	}
	last := conns.last
	for _, c := range all {
		conns.remove(c)
	}
	if conns.pages != nil || conns.lookup(slot, generation) != nil {
		t.Error("an empty table keeps memory")
	}
	conns.insert(new(Conn))
	if conns.last == last {
		t.Error("generation is given again")
	}
}

func TestPace(t *testing.T) {
	p := pace{tick: guardTick}
	for range 10 * guardTrust {
		p.next(true, false)
	}
	if p.tick != guardMaxTick {
		t.Errorf("tick is %v after a calm time", p.tick)
	}
	p.next(false, false)
	p.next(false, false)
	if p.idle < guardRest {
		t.Errorf("idle for %v after two ticks", p.idle)
	}
	p.next(false, true)
	if p.tick != guardTick || p.idle != 0 {
		t.Errorf("tick is %v after a Run that blocked, idle %v", p.tick, p.idle)
	}
}

func TestDetach(t *testing.T) {
	var d detach
	count := func() (n int) {
		for d.due() {
			n++
		}
		return n
	}
	if count() != 0 {
		t.Error("detached without a reason")
	}
	for _, want := range []int{64, 128, 256} {
		d.blocked()
		if n := count(); n != want {
			t.Errorf("%d Runs are detached, want %d", n, want)
		}
	}
	for range calmRuns {
		d.quick()
	}
	d.blocked()
	if n := count(); n != minDetached {
		t.Errorf("after calm %d Runs are detached", n)
	}
	for range 100 {
		d.blocked()
	}
	if d.left != maxDetached {
		t.Errorf("%d Runs are detached", d.left)
	}
}

// TestBlockedRunAfterRest blocks a handler after the guard has gone to sleep.
func TestBlockedRunAfterRest(t *testing.T) {
	release := make(chan struct{})
	r := newRecorder()
	r.onMessage = func(transport.Conn, []byte) bool { return true }
	r.onRun = func(transport.Conn) { <-release }
	var accepted atomic.Int32
	ts := serve(t, kind{options: Options{Loops: 1}}, func(c *Conn) {
		if accepted.Add(1) == 1 {
			c.Start(r)
		} else {
			echo(c)
		}
	})
	blocker, other := ts.dial(t), ts.dial(t)
	eventually(t, "the guard rests", resting(ts.Server))
	blocker.send(text("block"))
	r.until(t, "Run", func() bool { return len(r.log) == 2 })
	other.send(text("a"))
	other.expect("text a")
	close(release)
	eventually(t, "the guard rests again", resting(ts.Server))
}

// TestGoexit ends a loop's goroutine in a handler.
func TestGoexit(t *testing.T) {
	for i, where := range []string{"message", "run"} {
		calls := i + 1
		r := newRecorder()
		r.onMessage = func(_ transport.Conn, data []byte) bool {
			if where == "message" {
				runtime.Goexit()
			}
			return true
		}
		r.onRun = func(transport.Conn) { runtime.Goexit() }
		var accepted atomic.Int32
		options := Options{Loops: 1, Logger: slog.New(slog.DiscardHandler)}
		ts := serve(t, kind{options: options}, func(c *Conn) {
			if accepted.Add(1) == 1 {
				c.Start(r)
			} else {
				echo(c)
			}
		})
		a := ts.dial(t)
		b := ts.dial(t)
		a.send(text("die"))
		r.until(t, where, func() bool { return len(r.log) == calls })
		b.send(text("alive"))
		b.expect("text alive")
		if ts.Stats().Takeovers == 0 {
			a.expect("EOF")
		} else {
			a.Close() // on a busy machine the guard may take over the loop before the Run ends it
		}
		r.untilClosed(t)
	}
}

// TestIdleConnectionsHaveNoGoroutine opens idle connections.
func TestIdleConnectionsHaveNoGoroutine(t *testing.T) {
	ts := serve(t, kind{}, echo)
	warm := ts.dial(t)
	warm.send(text("a"))
	warm.expect("text a")
	before := runtime.NumGoroutine()
	for range 300 {
		ts.dial(t)
	}
	eventually(t, "handlers of net/http have returned", func() bool { return runtime.NumGoroutine() <= before+2 })
	for c := range ts.conns {
		c.mu.Lock()
		if c.in != nil || c.out != nil {
			t.Error("idle connection holds a buffer")
		}
		c.mu.Unlock()
		if len(ts.conns) == 0 {
			break
		}
	}
}

// TestOneSegment checks that the handshake response and the first frame are written at once. With two writes a
// single read would often return only the first.
func TestOneSegment(t *testing.T) {
	ts := serve(t, kind{}, func(c *Conn) {
		c.SendText("0{}")
		m := transport.TextMessage(strings.Repeat("x", 500))
		c.Send(m)
		c.Start(echoHandler{})
	})
	for range 50 {
		conn := ts.dialRaw(t)
		io.WriteString(conn, handshake)
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		_, frames, ok := bytes.Cut(b[:n], []byte("\r\n\r\n"))
		if !ok || len(frames) != 2+3+4+501 {
			t.Fatalf("first read is %q", b[:n])
		}
		conn.Close()
	}
}

func TestLoopForgetsManySignals(t *testing.T) {
	l := new(loop)
	for range 100_000 {
		l.pending = append(l.pending, nil)
	}
	for l.handled < len(l.pending) {
		l.nextPending()
	}
	l.nextPending()
	if c := cap(l.pending); c > maxKeptPending {
		t.Errorf("room for %d connections is kept", c)
	}
}
