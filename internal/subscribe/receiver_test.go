package subscribe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestJoin subscribes to the last name only once the others are confirmed. A later member is connected at once.
func TestJoin(t *testing.T) {
	run(t, func(f *fixture) {
		f.holds = true
		m, o := f.join("last", "a", "b")
		c := f.conn("")
		f.expect("first", c.has(), []string{"a", "b"})
		c.feed.Confirmed("a")
		c.feed.Confirmed("a") // another member has subscribed to it, say
		synctest.Wait()
		f.expect("when one is confirmed", c.has(), []string{"a", "b"})
		c.feed.Confirmed("b")
		synctest.Wait()
		f.expect("when both are", c.has(), []string{"a", "b", "last"})
		f.expect("connected", o.connected, 0)
		c.feed.Confirmed("last")
		f.expect("connected", o.connected, 1)
		other, p := f.join("last", "b")
		f.expect("another is connected", p.connected, 1)
		f.close(m)
		f.expect("when one has left", c.has(), []string{"b", "last"})
		f.close(other)
		f.expect("closed", c.closed, true)
		f.expect("connections", len(f.opened), 1)
	})
}

// TestReceive delivers messages to the members that want them.
func TestReceive(t *testing.T) {
	run(t, func(f *fixture) {
		m, o := f.join("x")
		other, p := f.join("x", "y")
		c := f.conn("")
		for _, text := range []string{"1", "own", "2"} {
			c.feed.Received(Message{Name: "x", Payload: []byte(text)})
		}
		c.feed.Received(Message{Name: "y", Payload: []byte("3")})
		c.feed.Received(Message{Name: "z", Payload: []byte("4")})
		synctest.Wait()
		f.expect("one", o.got, []string{"x 1", "x 2"})
		f.expect("the other", p.got, []string{"x 1", "x 2", "y 3"})
		other.Unsubscribe("y")
		other.Subscribe("z")
		synctest.Wait()
		f.expect("names", c.has(), []string{"x", "z"})
		other.Unsubscribe("z")
		f.close(m)
		f.close(other)
	})
}

// TestFails makes the connection fail and the broker unreachable for a while.
func TestFails(t *testing.T) {
	run(t, func(f *fixture) {
		m, o := f.join("last", "a", "b")
		f.set(func() { f.refuses = errBroker })
		f.conn("").fails <- errBroker
		f.pass(time.Minute)
		f.expect("lost", o.lost, 1)
		if n := len(f.opened); n < 30 || n > 80 {
			f.Errorf("%d tries in a minute", n)
		}
		for i, at := range f.opened[2:] {
			if d := at.Sub(f.opened[i+1]); d < minBackoff/2 || d > maxBackoff {
				f.Errorf("%v between two tries", d)
			}
		}
		m.Subscribe("more")
		f.set(func() { f.refuses = nil })
		f.pass(maxBackoff)
		f.expect("names", f.conn("").has(), []string{"a", "b", "last", "more"})
		f.expect("connected", o.connected, 2)
		f.expect("lost", o.lost, 1)
		for _, line := range []string{"subscriptions lost", "subscriptions restored"} {
			f.expect(line, strings.Count(f.log.String(), line), 1)
		}
		m.Unsubscribe("more")
		f.close(m)
	})
}

// TestNeverThere gives up a broker that was never reachable. No loss is reported.
func TestNeverThere(t *testing.T) {
	run(t, func(f *fixture) {
		f.refuses = errBroker
		m, o := f.join("last")
		f.pass(time.Minute)
		f.expect("lost", o.lost, 0)
		begun := time.Now()
		f.close(m)
		f.expect("time that it took", time.Since(begun), time.Duration(0))
		f.expect("restored", strings.Contains(f.log.String(), "restored"), false)
	})
}

// TestSilence gives up a connection that does not answer. It keeps an idle one, and one that waits for space.
func TestSilence(t *testing.T) {
	run(t, func(f *fixture) {
		f.pool.limit, f.pool.patience = 10_000, time.Hour
		m, o := f.join("last")
		c := f.conn("")
		f.pass(time.Minute)
		f.expect("lost while it answers", o.lost, 0)

		f.set(func() { f.mute = true })
		gate := make(chan struct{})
		o.on = func() { <-gate }
		go func() {
			for i := range 10 {
				msg := message(i)
				msg.Name = "last"
				c.feed.Received(msg)
			}
		}()
		f.pass(time.Minute)
		f.expect("lost while it waits", o.lost, 0)
		o.on = nil
		close(gate)
		f.pass(2*defaultInterval + time.Second)
		f.expect("lost when it is silent", o.lost, 1)
		f.expect("closed", c.closed, true)
		f.set(func() { f.mute = false })
		f.pass(maxBackoff)
		f.expect("connected", o.connected, 2)
		f.close(m)
	})
}

// TestKeys has names on different connections: the names of one that fails, moves or is refused are located again,
// and the others are not affected. An unused connection is closed.
func TestKeys(t *testing.T) {
	run(t, func(f *fixture) {
		f.keys = map[string]string{"a": "1", "b": "1", "c": "2"}
		a, o := f.join("a")
		b, p := f.join("b")
		c, q := f.join("c")
		f.expect("on the first", f.conn("1").has(), []string{"a", "b"})
		f.expect("on the second", f.conn("2").has(), []string{"c"})
		lost := func(what string, want ...int) {
			f.Helper()
			f.pass(maxBackoff)
			f.expect(what, fmt.Sprint(o.lost, p.lost, q.lost), strings.Trim(fmt.Sprint(want), "[]"))
			f.expect(what+": connected", fmt.Sprint(o.connected, p.connected, q.connected), fmt.Sprint(1+o.lost, 1+p.lost, 1+q.lost))
		}
		f.set(func() { f.keys["a"] = "2" })
		f.conn("1").feed.Moved("a")
		lost("one moves", 1, 0, 0)
		f.expect("on the second", f.conn("2").has(), []string{"a", "c"})
		f.conn("2").fails <- errBroker
		lost("one fails", 2, 0, 1)

		f.set(func() { f.holds = true })
		d, r := f.join("d")
		f.expect("not confirmed", r.connected, 0)
		f.set(func() { f.holds, f.keys["d"] = false, "2" })
		f.conn("").feed.Refused()
		lost("one is refused", 2, 0, 1)
		f.expect("confirmed elsewhere", r.connected, 1)
		first := f.conn("1")
		f.close(b)
		f.pass(defaultInterval)
		f.expect("closed", first.closed, true)
		for _, m := range []*Member{a, c, d} {
			f.close(m)
		}
	})
}

// TestDead makes a connection fail during a subscription.
func TestDead(t *testing.T) {
	run(t, func(f *fixture) {
		m, o := f.join("last")
		for i := range 20 {
			f.conn("").fails <- errBroker
			name := fmt.Sprint(i)
			m.Subscribe(name)
			f.pass(maxBackoff)
			f.expect("names", f.conn("").has(), []string{name, "last"})
			f.expect("lost", o.lost, i+1)
			m.Unsubscribe(name)
			synctest.Wait()
		}
		f.close(m)
	})
}

// TestComeAndGo adds members while the last one leaves, repeatedly.
func TestComeAndGo(t *testing.T) {
	run(t, func(f *fixture) {
		for range 50 {
			o := new(owner)
			m := f.NewMember(o.handle)
			m.Join(o, "x", "y")
			closed := make(chan struct{})
			go func() {
				f.close(m)
				close(closed)
			}()
			next, p := f.join("x")
			<-closed
			synctest.Wait()
			f.expect("connected", p.connected > 0, true)
			f.conn("").feed.Received(Message{Name: "x", Payload: []byte("1")})
			synctest.Wait()
			f.expect("next", p.got, []string{"x 1"})
			f.close(next)
		}
	})
}

// TestFromInside calls every method from every callback: no lock is held there.
func TestFromInside(t *testing.T) {
	run(t, func(f *fixture) {
		o := new(owner)
		m := f.NewMember(o.handle)
		var calls atomic.Int32
		o.on = func() {
			if calls.Add(1) > 100 {
				return // Insert has the handler called again
			}
			m.Subscribe("more")
			m.Insert(Message{})
			m.Unsubscribe("more")
			p := new(owner)
			other := f.NewMember(p.handle)
			other.Join(p, "last", "first")
			other.Subscribe("more")
			other.Unsubscribe("more")
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			if err := other.Close(ended); err != nil && !errors.Is(err, context.Canceled) {
				f.Error(err)
			}
		}
		m.Join(o, "last", "first")
		synctest.Wait()
		f.conn("").feed.Received(Message{Name: "last"})
		f.conn("").feed.Dropped("last", 1)
		synctest.Wait()
		f.conn("").fails <- errBroker
		f.pass(maxBackoff)
		if o.connected < 2 || o.lost < 1 || o.dropped < 1 || len(o.got) < 2 {
			f.Errorf("connected %d, lost %d, dropped %d, got %q", o.connected, o.lost, o.dropped, o.got)
		}
		f.close(m)
	})
}

// TestCloseWaits has a connection that does not end: Close waits until its context is done.
func TestCloseWaits(t *testing.T) {
	run(t, func(f *fixture) {
		m, _ := f.join("last")
		hangs := make(chan struct{})
		f.set(func() { f.hangs = hangs })
		ctx, cancel := context.WithTimeout(f.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if err := m.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			f.Errorf("%v after %v", err, time.Since(begun))
		}
		f.set(func() { f.hangs = nil })
		next, p := f.join("last") // which is for another connection
		f.expect("connected", p.connected, 0)
		close(hangs)
		synctest.Wait()
		f.expect("connected", p.connected, 1)
		f.close(next)
	})
}
