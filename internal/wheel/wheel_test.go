package wheel

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

const tick = time.Duration(1) << tickShift

type task func()

func (f task) Expire() { f() }

func TestTimerIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Timer{}); n > 40 {
		t.Errorf("a Timer has %d bytes, want at most 40", n)
	}
}

func TestExpiresInTime(t *testing.T) {
	durations := []time.Duration{
		-time.Second, 0, 1, time.Millisecond, 5 * time.Millisecond, tick, tick + 1, 100 * time.Millisecond, time.Second,
		8 * time.Second, 9 * time.Second, 20 * time.Second, 25 * time.Second, 45 * time.Second, 69 * time.Second,
		2 * time.Minute, 10 * time.Minute, time.Hour, 2 * time.Hour, 30 * time.Hour, 400 * time.Hour,
	}
	t.Run("after the start", func(t *testing.T) { expireInTime(t, durations, 0) })
	const end = 1 << 32 // ticks
	for _, before := range []time.Duration{4 * time.Second, time.Minute, 10 * time.Hour} {
		t.Run(fmt.Sprintf("%v before the ticks start again", before), func(t *testing.T) {
			expireInTime(t, durations, end*tick-before)
		})
	}
}

// expireInTime has timers expire in a Wheel of this age.
func expireInTime(t *testing.T, durations []time.Duration, age time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		for i := range w.shards {
			w.shards[i].start = time.Now().Add(-age)
		}
		time.Sleep(3*time.Second + 3*time.Millisecond)
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
			} else if after < d || after > max(d, 0)+2*tick {
				t.Errorf("%v expired after %v", d, after)
			}
		}
		if n := w.Len(); n != 0 {
			t.Errorf("%d timers are left", n)
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
			due   time.Time
			armed bool
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
				d := time.Duration(r.Int64N(int64(time.Minute) << r.IntN(6)))
				e.due, e.armed = time.Now().Add(d), true
				w.Schedule(&e.Timer, d, task(func() {
					mu.Lock()
					defer mu.Unlock()
					if late := time.Since(e.due); !e.armed || late < 0 || late > 2*tick {
						t.Errorf("armed %v, %v late", e.armed, late)
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
