package engineio

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
)

// around reports whether d is want plus at most the permitted lateness of a timer.
func around(d, want time.Duration) bool { return d >= want && d <= want+wheel.Tolerance(want) }

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beats := 0
		f := serveInMemory(t, Options{Hooks: &Hooks{Heartbeat: func(*Session) { beats++ }}})
		s, _ := f.open()
		e := f.session()
		for range 3 {
			start := time.Now()
			s.want("2")
			if d := time.Since(start); !around(d, 25*time.Second) {
				t.Errorf("ping after %v", d)
			}
			time.Sleep(19 * time.Second) // the next is counted from the pong
			s.write("3")
			synctest.Wait()
		}
		start := time.Now()
		s.want("2")
		s.wantClose("")
		if d := time.Since(start); !around(d, 45*time.Second) {
			t.Errorf("closed after %v", d)
		}
		e.expect(t, PingTimeout, "nil")
		if beats != 3 {
			t.Errorf("%d heartbeats", beats)
		}
	})
}

func TestHeartbeatPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{})
		p := f.poll()
		e := f.session()
		for range 3 {
			p.wantGet(200, "2")
			p.wantPost("3", 200, "ok")
		}
		start := time.Now()
		p.wantGet(200, "2")
		p.wantGet(200, "1")
		if d := time.Since(start); !around(d, 45*time.Second) {
			t.Errorf("closed after %v", d)
		}
		p.wantGone()
		e.expect(t, PingTimeout, "nil")

		p = f.poll()
		time.Sleep(44900 * time.Millisecond)
		if f.server.ClientsCount() != 1 {
			t.Error("closed too early")
		}
		time.Sleep(200 * time.Millisecond)
		p.wantGone()
	})
}

func TestDeadlineIsExtendedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{})
		s, _ := f.open()
		e := f.session()
		s.want("2")
		start := time.Now()
		for range 2 { // 15 s and 30 s after the ping; only the first counts
			time.Sleep(15 * time.Second)
			s.write("6")
		}
		s.wantClose("")
		e.expectAfter(t, PingTimeout, start, 35*time.Second)
		e2 := func() time.Duration {
			s, _ := f.open()
			s.want("2")
			start := time.Now()
			time.Sleep(15 * time.Second)
			s.write("6")
			s.wantClose("")
			return time.Since(start)
		}
		if d := e2(); !around(d, 35*time.Second) {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestHeartbeatAcrossUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond})
		p := f.poll()
		start := time.Now()
		e := f.session()
		p.wantGet(200, "2")
		s := f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
		s.write("2probe")
		s.want("3probe")
		s.write("5")
		s.wantClose("") // the reference forgets the ping, but clients cannot rely on that
		if d := time.Since(start); !around(d, 500*time.Millisecond) {
			t.Errorf("closed after %v", d)
		}
		e.expect(t, PingTimeout, "nil")

		p = f.poll()
		s = p.upgradeInMemory()
		for range 5 {
			s.want("2")
			s.write("3")
		}
	})
}

func (p *poller) upgradeInMemory() *socket {
	s := probing(p)
	s.write("5")
	synctest.Wait()
	return s
}

// TestPausedSession is paused for minutes: its client is sent pings all the time, and not closed although the answers
// are not read.
func TestPausedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{})
		s, _ := f.open()
		e := f.session()
		s.want("2")
		e.s.Pause()
		go s.write("3")
		for range 10 {
			s.want("2")
		}
		if e.s.State() != StateOpen {
			t.Error("closed although the pongs were not read")
		}
		e.s.Resume()
		s.want("2")
		s.wantClose("")
		e.expect(t, PingTimeout, "nil")
	})
}

// TestPausedPolling uses a paused client that continues to poll, which is a sign of life, and then stops.
func TestPausedPollingIsTimedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{})
		p := f.poll()
		e := f.session()
		e.s.Pause()
		for range 5 {
			p.wantGet(200, "2")
		}
		start := time.Now()
		c := <-e.closed
		if after := time.Since(start); c.reason != PingTimeout || after < 45*time.Second || after > 91*time.Second {
			t.Errorf("%q after %v", c.reason, after)
		}
	})
}

// TestHeldPostIsNoSignOfLife uses a client that leaves while its POST is held back and the beginning of another request is
// buffered, so that net/http does not notice that it has left.
func TestHeldPostIsNoSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{})
		p := f.poll()
		e := f.session()
		e.s.Pause()
		conn := p.beginPost(2)
		_, _ = io.WriteString(conn, "a")
		p.wantGet(200, "4a") // handled
		_, _ = io.WriteString(conn, "G")
		conn.Close()
		p.wantGet(200, "2")
		start := time.Now()
		c := <-e.closed
		if after := time.Since(start); c.reason != PingTimeout || after > 91*time.Second {
			t.Errorf("%q after %v", c.reason, after)
		}
	})
}

func TestClosingSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{})
		f.poll()
		e := f.session()
		start := time.Now()
		e.s.Close()
		e.expectAfter(t, ForcedClose, start, 30*time.Second)

		f.poll()
		e = f.session()
		start = time.Now()
		_ = e.s.sendPacket(packet.Noop)
		e.s.Close()
		e.expectAfter(t, PingTimeout, start, 45*time.Second)
	})
}

func (e *echo) expectAfter(t *testing.T, reason CloseReason, start time.Time, after time.Duration) {
	t.Helper()
	c := <-e.closed
	if d := time.Since(start); c.reason != reason || !around(d, after) {
		t.Errorf("%q after %v, want %q after %v", c.reason, d, reason, after)
	}
}

func TestHeartbeatV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{AllowEIO3: true})
		s := f.dial("?EIO=3&transport=websocket")
		s.text()
		e := f.session()
		for range 3 {
			time.Sleep(44 * time.Second)
			s.write("2probe", "4a") // a message does not count
			s.want("3")
			s.want("4a")
		}
		start := time.Now()
		s.write("4a")
		s.want("4a")
		s.wantClose("")
		e.expectAfter(t, PingTimeout, start, 45*time.Second)
	})
}

// TestSilentClientIsClosedOnTheDot polls once more just before a silent session ends, and just after: the first poll
// is served, the second is not.
func TestSilentClientIsClosedOnTheDot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval, timeout = 300 * time.Millisecond, 200 * time.Millisecond
		const travel = 100 * time.Microsecond // the minimum duration of a request outside of a bubble
		f := serveInMemory(t, Options{PingInterval: interval, PingTimeout: timeout})
		for range 200 {
			time.Sleep(1234567 * time.Nanosecond)
			early, late := f.poll(), f.poll()
			time.Sleep(interval + timeout - travel)
			early.wantGet(200, "2")
			time.Sleep(2 * travel)
			late.wantGone()
		}
	})
}
