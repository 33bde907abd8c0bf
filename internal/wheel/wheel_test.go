package wheel

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

const tick = time.Duration(1) << (tickShift + unitShift)

type task func()

func (f task) Expire() { f() }

func TestTimerIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Timer{}); n > 40 {
		t.Errorf("a Timer has %d bytes, want at most 40", n)
	}
}

// inTime reports whether a timer of length d has expired in time, and after how long. Time in a bubble stands still
// while anything runs, so only the wheel can be late.
func inTime(d, after time.Duration) bool { return after >= d && after <= max(d, 0)+Tolerance(d)/2 }

func TestExpiresInTime(t *testing.T) {
	durations := []time.Duration{
		-time.Second, 0, 1, time.Millisecond, 1500 * time.Microsecond, 5 * time.Millisecond, tick, tick + 1,
		100 * time.Millisecond, 500 * time.Millisecond, time.Second, 2147 * time.Millisecond, 2148 * time.Millisecond,
		8 * time.Second, 9 * time.Second, 20 * time.Second, 25 * time.Second, 45 * time.Second, 69 * time.Second,
		2 * time.Minute, 10 * time.Minute, 18 * time.Minute, 19 * time.Minute, time.Hour, 2 * time.Hour, 30 * time.Hour, 400 * time.Hour,
	}
	for age := range time.Duration(20) {
		age = age * age * 1234567 * time.Microsecond
		t.Run(fmt.Sprintf("after %v", age), func(t *testing.T) { expireInTime(t, durations, age) })
	}
}

// expireInTime lets timers expire in a Wheel of this age.
func expireInTime(t *testing.T, durations []time.Duration, age time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		time.Sleep(age)
		var mu sync.Mutex
		fired := map[time.Duration]time.Duration{}
		start := time.Now()
		timers := make([]Timer, len(durations))
		for i, d := range durations {
			w.Schedule(&timers[i], d, task(func() {
				mu.Lock()
				defer mu.Unlock()
				if _, ok := fired[d]; ok {
					t.Errorf("%v expired twice", d)
				}
				fired[d] = time.Since(start)
			}))
		}
		time.Sleep(401 * time.Hour)
		synctest.Wait()
		for _, d := range durations {
			after, ok := fired[d]
			if !ok {
				t.Errorf("%v did not expire", d)
			} else if !inTime(d, after) {
				t.Errorf("%v expired after %v", d, after)
			}
		}
		if n := w.Len(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
	})
}

// TestShortBesideLong schedules short timers while the only alarm is far away.
func TestShortBesideLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		long := make([]Timer, len(w.shards))
		for i := range long {
			w.Schedule(&long[i], time.Hour, task(func() {}))
		}
		for range 100 {
			time.Sleep(7654321 * time.Microsecond)
			var short Timer
			start, expired := time.Now(), make(chan struct{})
			w.Schedule(&short, 100*time.Millisecond, task(func() { close(expired) }))
			<-expired
			if after := time.Since(start); !inTime(100*time.Millisecond, after) {
				t.Fatalf("expired after %v", after)
			}
		}
	})
}

// TestContinue schedules consecutive deadlines: only the lateness of the last one counts.
func TestContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		for range 200 {
			time.Sleep(123456 * time.Microsecond)
			var timer Timer
			start, expired := time.Now(), make(chan struct{})
			w.Schedule(&timer, 25*time.Second, task(func() {
				w.Continue(&timer, 200*time.Millisecond, task(func() {
					w.Continue(&timer, 20*time.Second, task(func() { close(expired) }))
				}))
			}))
			<-expired
			const want = 45200 * time.Millisecond
			if after := time.Since(start); after < want || after > want+12*time.Millisecond {
				t.Fatalf("expired after %v", after)
			}
		}
	})
}

// TestContinueAfterDelay makes a timer late by keeping its shard busy: the full duration remains until the next
// deadline.
func TestContinueAfterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		var timer Timer
		var late time.Time
		expired := make(chan struct{})
		w.Schedule(&timer, time.Second, task(func() {
			time.Sleep(time.Minute)
			late = time.Now()
			w.Continue(&timer, time.Second, task(func() { close(expired) }))
		}))
		<-expired
		if after := time.Since(late); after < time.Second-Tolerance(time.Second) || after > 1100*time.Millisecond {
			t.Errorf("expired after %v", after)
		}
	})
}

// TestExpireIfDue calls ExpireIfDue at the moment of the deadlines, before the wheel wakes.
func TestExpireIfDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		var timer Timer
		w.ExpireIfDue(&timer)
		n := 0
		w.Schedule(&timer, 25*time.Second, task(func() { n++ }))
		time.Sleep(25*time.Second - 1)
		if w.ExpireIfDue(&timer); n != 0 {
			t.Error("early")
		}
		time.Sleep(100 * time.Microsecond)
		if w.ExpireIfDue(&timer); n != 1 {
			t.Error("not called")
		}
		if w.ExpireIfDue(&timer); n != 1 || w.Len() != 0 {
			t.Error("called twice, or left")
		}
		time.Sleep(time.Minute)
		if synctest.Wait(); n != 1 {
			t.Error("called by the wheel, too")
		}
		// A task that is being called is waited for.
		done := false
		w.Schedule(&timer, time.Second, task(func() {
			time.Sleep(time.Second)
			done = true
		}))
		time.Sleep(1500 * time.Millisecond)
		if w.ExpireIfDue(&timer); !done {
			t.Error("not waited for")
		}
	})
}

// TestSleepsUntilNeeded counts the wake-ups of a wheel for timers of one length.
func TestSleepsUntilNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		s := &w.shards[0]
		next := func() time.Duration {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.armed {
				return 0
			}
			return time.Duration(s.alarmAt)<<unitShift - time.Since(s.start)
		}
		timers := make([]Timer, 1000*len(w.shards))
		var expired atomic.Int64
		for i := range timers {
			w.Schedule(&timers[i], 25*time.Second, task(func() { expired.Add(1) }))
			time.Sleep(time.Millisecond / time.Duration(len(w.shards))) // over a second
		}
		wakes := 0
		for d := next(); d > 0; d = next() {
			wakes++
			time.Sleep(d)
			synctest.Wait()
		}
		if n := expired.Load(); n < 1000 || wakes > 130 {
			t.Errorf("%d timers, %d wake-ups", n, wakes)
		}
	})
}

func TestRandomSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		r := rand.New(rand.NewPCG(1, 2))
		type entry struct {
			Timer
			length time.Duration
			start  time.Time
			armed  bool
		}
		var mu sync.Mutex
		entries := make([]entry, 500)
		for range 20000 {
			e := &entries[r.IntN(len(entries))]
			mu.Lock()
			if r.IntN(4) == 0 {
				if got := w.Stop(&e.Timer); got != e.armed {
					t.Errorf("Stop = %v, want %v", got, e.armed)
				}
				e.armed = false
			} else {
				e.length = time.Duration(r.Int64N(int64(time.Minute) >> 12 << r.IntN(18)))
				e.start, e.armed = time.Now(), true
				w.Schedule(&e.Timer, e.length, task(func() {
					mu.Lock()
					defer mu.Unlock()
					if after := time.Since(e.start); !e.armed || !inTime(e.length, after) {
						t.Errorf("armed %v, %v expired after %v", e.armed, e.length, after)
					}
					e.armed = false
				}))
			}
			mu.Unlock()
			synctest.Wait()
			time.Sleep(time.Duration(r.Int64N(int64(100 * time.Millisecond))))
			synctest.Wait()
		}
		time.Sleep(33 * time.Minute)
		synctest.Wait()
		if n := w.Len(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		var timer Timer
		if w.Stop(&timer) {
			t.Error("Stop of a new timer reports true")
		}
		w.Schedule(&timer, time.Second, task(func() { t.Error("expired") }))
		if !w.Stop(&timer) || w.Stop(&timer) {
			t.Error("Stop reports the wrong result")
		}
		time.Sleep(time.Minute)
	})
}

func TestTaskMaySchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		var timer, other Timer
		n := 0
		start := time.Now()
		var again task
		again = func() {
			if n++; n < 10 {
				w.Schedule(&timer, time.Second, again)
			}
		}
		w.Schedule(&timer, time.Second, again)
		w.Schedule(&other, 10*time.Second, task(func() { w.Stop(&timer) }))
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n < 9 {
			t.Errorf("expired %d times in %v", n, time.Since(start))
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		timers := make([]Timer, 100)
		for i := range timers {
			w.Schedule(&timers[i], time.Second, task(func() { t.Error("expired") }))
		}
		w.Close()
		w.Schedule(&timers[0], 0, task(func() { t.Error("expired") }))
		w.Stop(&timers[1])
		time.Sleep(time.Minute)
	})
}

func TestConcurrentUse(t *testing.T) {
	w := New()
	defer w.Close()
	timers := make([]Timer, 64)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for range 5000 {
				timer := &timers[r.IntN(len(timers))]
				if r.IntN(3) == 0 {
					w.Stop(timer)
				} else {
					w.Schedule(timer, time.Duration(r.IntN(20))*time.Millisecond, task(func() {
						w.Schedule(timer, time.Millisecond, task(func() {}))
					}))
				}
			}
		})
	}
	wg.Wait()
	for deadline := time.Now().Add(10 * time.Second); w.Len() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d timers never expired", w.Len())
		}
	}
}

func BenchmarkReschedule(b *testing.B) {
	w := New()
	defer w.Close()
	timers := make([]Timer, 10000)
	f := task(func() {})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Schedule(&timers[i%len(timers)], 25*time.Second, f)
	}
}
