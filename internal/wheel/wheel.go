// Package wheel is a timing wheel: the deadlines of any number of sessions on a handful of runtime timers.
//
// A [Timer] is embedded in what it belongs to and linked into a slot, so that scheduling and stopping
// it costs the same however many there are, and allocates nothing. Deadlines are met at the first
// tick at or after them; a tick is 2^23 ns, about 8.4 ms. A Wheel sleeps until its next occupied slot
// and holds no goroutine while it sleeps.
//
// Timers are spread over shards, each with its own lock, slots and runtime timer. Within a shard four
// levels of slots cover ever longer horizons with ever wider slots: 8 s in ticks, 69 s in eighths of
// half a second, and so on. What lies in a wide slot moves down to narrower ones when the slot is
// reached, a few at a time, so a million timers of the same length never wake together.
package wheel

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	tickShift  = 23 // a tick is 1<<tickShift nanoseconds
	levels     = 4
	levelShift = 3 // a slot of one level is as wide as 1<<levelShift slots of the level below
	slotBits   = 10
	slots      = 1 << slotBits

	// maxTicks keeps the distance of two ticks within an int32: about 208 days.
	maxTicks = 1<<31 - 1<<16

	maxShards = 16
)

// Task is what happens when a Timer is due. Expire is called on a goroutine of the wheel, without any
// lock held, and must not block. It may schedule and stop any Timer.
type Task interface{ Expire() }

// Timer is one deadline. The zero value is ready for use. It must not be copied after first use.
type Timer struct {
	next, prev *Timer
	task       Task
	due        uint32        // tick
	place      atomic.Uint32 // its shard, plus one, and below placeShift its slot, plus one; 0 if it has none
}

const placeShift = 16

// linked reports whether t is in a slot. The lock of its shard is held.
func (t *Timer) linked() bool { return t.slot() >= 0 }

// slot returns the slot of t or -1. The lock of its shard is held.
func (t *Timer) slot() int { return int(t.place.Load()&(1<<placeShift-1)) - 1 }

// setSlot sets the slot of t, or -1. The lock of its shard is held.
func (t *Timer) setSlot(i int) { t.place.Store(t.place.Load()>>placeShift<<placeShift | uint32(i+1)) }

// dueSlot is the list of timers that have expired and whose tasks have not yet been called.
const dueSlot = levels * slots

// Wheel is a set of timers. All methods are safe for concurrent use.
type Wheel struct {
	shards []shard
	assign atomic.Uint32
}

type shard struct {
	start time.Time

	mu      sync.Mutex
	cur     uint32 // the last tick that has been processed
	running bool   // expire is at work and will arm the alarm itself
	closed  bool
	armed   bool
	alarmAt uint32 // the tick for which alarm is set, if armed
	alarm   *time.Timer
	count   int
	heads   []*Timer // of levels*slots lists, and the due list; nil until first use
	used    [levels * slots / 64]uint64
	tail    *Timer // of the due list, which keeps the order of the deadlines
}

// New returns an empty Wheel. It holds no resources until a Timer is scheduled.
func New() *Wheel {
	n := 1
	for n < runtime.GOMAXPROCS(0) && n < maxShards {
		n *= 2
	}
	w := &Wheel{shards: make([]shard, n)}
	now := time.Now()
	for i := range w.shards {
		w.shards[i].start = now
	}
	return w
}

// Schedule makes t call task.Expire once, d from now, at most a tick later. If t was scheduled
// already, its earlier deadline is forgotten; an Expire of it that has just begun is not waited for.
// Deadlines further away than 200 days are brought forward. After Close it does nothing.
func (w *Wheel) Schedule(t *Timer, d time.Duration, task Task) {
	s := w.shardOf(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.heads == nil {
		s.heads = make([]*Timer, levels*slots+1)
	}
	if t.linked() {
		s.unlink(t)
	}
	elapsed := time.Since(s.start)
	if s.count == 0 && !s.running {
		s.cur = uint32(elapsed >> tickShift) // nothing was there to be processed in between
	}
	ticks := (elapsed + max(d, 0) + 1<<tickShift - 1) >> tickShift
	ahead := min(max(int64(ticks)-int64(elapsed>>tickShift), 0), maxTicks)
	t.due = uint32(elapsed>>tickShift) + uint32(ahead)
	t.task = task
	s.link(t)
	s.arm(t.due)
}

// Stop prevents a scheduled t from expiring. It reports false if t was not scheduled, or if its
// Expire has been called or is about to be.
func (w *Wheel) Stop(t *Timer) bool {
	i := t.place.Load() >> placeShift
	if i == 0 {
		return false
	}
	s := &w.shards[i-1]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.linked() {
		return false
	}
	s.unlink(t)
	t.task = nil
	return true
}

// Len returns the number of scheduled timers.
func (w *Wheel) Len() int {
	n := 0
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		n += s.count
		s.mu.Unlock()
	}
	return n
}

// Close forgets all timers. A task that is being called is not waited for, so Close may be called
// from a task; none is called afterwards.
func (w *Wheel) Close() {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		s.closed = true
		if s.alarm != nil {
			s.alarm.Stop()
		}
		s.mu.Unlock()
	}
}

// shardOf returns the shard of t, which it keeps for life.
func (w *Wheel) shardOf(t *Timer) *shard {
	i := t.place.Load() >> placeShift
	if i == 0 {
		t.place.CompareAndSwap(0, (w.assign.Add(1)%uint32(len(w.shards))+1)<<placeShift)
		i = t.place.Load() >> placeShift
	}
	return &w.shards[i-1]
}

// link puts t into the narrowest slot that reaches its deadline. A deadline beyond the widest is put
// as far away as possible and found to be early when that slot is reached.
func (s *shard) link(t *Timer) {
	due := t.due
	if int32(due-s.cur) <= 0 {
		due = s.cur + 1
	}
	for level := range levels {
		shift := level * levelShift
		distance := (due>>shift - s.cur>>shift) << shift >> shift // ticks start again at 0 after 417 days
		if distance >= slots {
			if level < levels-1 {
				continue
			}
			due = s.cur + (slots-1)<<shift
		}
		s.push(t, level<<slotBits|int(due>>shift)&(slots-1))
		return
	}
}

func (s *shard) push(t *Timer, i int) {
	head := s.heads[i]
	t.next, t.prev = head, nil
	if head != nil {
		head.prev = t
	}
	s.heads[i] = t
	s.used[i/64] |= 1 << (i % 64)
	t.setSlot(i)
	s.count++
}

func (s *shard) pushDue(t *Timer) {
	t.next, t.prev = nil, s.tail
	if s.tail != nil {
		s.tail.next = t
	} else {
		s.heads[dueSlot] = t
	}
	s.tail = t
	t.setSlot(dueSlot)
	s.count++
}

func (s *shard) unlink(t *Timer) {
	i := t.slot()
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		s.heads[i] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else if i == dueSlot {
		s.tail = t.prev
	}
	if i != dueSlot && s.heads[i] == nil {
		s.used[i/64] &^= 1 << (i % 64)
	}
	t.next, t.prev = nil, nil
	t.setSlot(-1)
	s.count--
}

// arm sees to it that the shard wakes at tick due or earlier.
func (s *shard) arm(due uint32) {
	if s.running || s.closed || s.armed && int32(due-s.alarmAt) >= 0 {
		return
	}
	s.armed, s.alarmAt = true, due
	now := time.Since(s.start)
	ahead := int32(due - uint32(now>>tickShift))
	wait := max(time.Duration(ahead)<<tickShift-now&(1<<tickShift-1), 0)
	if s.alarm == nil {
		s.alarm = time.AfterFunc(wait, s.expire)
	} else {
		s.alarm.Reset(wait)
	}
}

// nextTick returns the first tick after cur at which a slot begins that is not empty.
func (s *shard) nextTick() (tick uint32, ok bool) {
	for level := range levels {
		shift := level * levelShift
		position := s.cur >> shift
		if n := s.scan(level, int(position+1)&(slots-1)); n >= 0 {
			if at := (position + 1 + uint32(n)) << shift; !ok || int32(at-tick) < 0 {
				tick, ok = at, true
			}
		}
	}
	return tick, ok
}

// scan returns how many slots of level, from slot from on and around, are empty, or -1 if all are.
func (s *shard) scan(level, from int) int {
	const words = slots / 64
	used := s.used[level*words : (level+1)*words]
	word, bit := from/64, from%64
	if w := used[word] >> bit; w != 0 {
		return bits.TrailingZeros64(w)
	}
	n := 64 - bit
	for i := 1; i <= words; i++ {
		if w := used[(word+i)%words]; w != 0 {
			return n + bits.TrailingZeros64(w)
		}
		n += 64
	}
	return -1
}

// expire calls the tasks that are due, and sets the alarm for the next.
func (s *shard) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running || s.closed {
		return
	}
	s.running, s.armed = true, false
	for !s.closed {
		s.advance(uint32(time.Since(s.start) >> tickShift))
		if s.heads[dueSlot] == nil {
			break
		}
		for t := s.heads[dueSlot]; t != nil && !s.closed; t = s.heads[dueSlot] {
			s.unlink(t)
			task := t.task
			t.task = nil
			s.mu.Unlock()
			task.Expire()
			s.mu.Lock()
		}
	}
	s.running = false
	if next, ok := s.nextTick(); ok {
		s.arm(next)
	}
}

// advance processes all slots that begin up to tick now.
func (s *shard) advance(now uint32) {
	for {
		tick, ok := s.nextTick()
		if !ok || int32(tick-now) > 0 {
			if int32(now-s.cur) > 0 {
				s.cur = now
			}
			return
		}
		s.cur = tick - 1
		for level := levels - 1; level > 0; level-- {
			shift := level * levelShift
			if tick&(1<<shift-1) != 0 {
				continue
			}
			i := level<<slotBits | int(tick>>shift)&(slots-1)
			for t := s.heads[i]; t != nil; t = s.heads[i] {
				s.unlink(t)
				s.link(t)
			}
		}
		i := int(tick) & (slots - 1)
		for t := s.heads[i]; t != nil; t = s.heads[i] {
			s.unlink(t)
			s.pushDue(t)
		}
		s.cur = tick
	}
}
