// Package wheel is a timing wheel: it keeps the deadlines of any number of sessions on a few runtime timers.
//
// A [Timer] is embedded in its owner and linked into a slot. Scheduling and stopping take constant time, however
// many timers there are, and allocate nothing. A timer never expires early. It expires late by at most half a
// millisecond or a two-thousandth of its length, whichever is longer, plus the lateness of the runtime's timers,
// about a millisecond. A Wheel sleeps until its next occupied slot and holds no goroutine meanwhile.
//
// Timers are spread over shards, each with its own lock, slots and runtime timer. A shard has levels of slots: a
// slot is half a millisecond wide in the first level, which covers two seconds, and twice as wide in each following
// level. A timer is put into the narrowest level that reaches its deadline and stays there until it expires. Long
// timers, which are the majority, therefore share few wake-ups, and short ones are precise. A million timers of the
// same length never wake together.
//
// The package imports no other package of the project. All packages with time-outs import it.
package wheel

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	unitShift = 16 // deadlines are kept in units of 1<<unitShift nanoseconds, 66 µs
	tickShift = 3  // a slot of the first level is 1<<tickShift units wide, 0.5 ms
	levels    = 10 // the last one covers 18 minutes
	slotBits  = 12
	slots     = 1 << slotBits
	words     = slots / 64

	maxShards = 16
)

// Task is the action of a Timer. Expire is called on a goroutine of the wheel, without a lock held, and must not
// block. It may schedule and stop any Timer.
type Task interface{ Expire() }

// Timer is one deadline. The zero value is ready for use. It must not be copied after first use.
type Timer struct {
	next, prev *Timer
	task       Task
	word       atomic.Uint64 // shard, list and deadline
}

// The word of a Timer holds, from the highest bits down, the number of its shard plus one, which never changes; its
// list; and its deadline in units since the wheel was created. A zero shard means that the Timer has no shard yet.
// The lock of the shard guards the rest.
const (
	dueBits    = 43 // 18 years
	listBits   = 16
	shardShift = dueBits + listBits
	maxDue     = 1<<dueBits - 1
	maxList    = 1<<listBits - 1
)

// Lists of a shard.
const (
	noList    = iota
	dueList   // expired timers whose tasks have not been called
	firstSlot // of the first level; the slots of all levels follow
)

func (t *Timer) due() uint64 { return t.word.Load() & maxDue }

func (t *Timer) list() int { return int(t.word.Load() >> dueBits & maxList) }

func (t *Timer) set(list int, due uint64) {
	t.word.Store(t.word.Load()>>shardShift<<shardShift | uint64(list)<<dueBits | due)
}

// Wheel is a set of timers. All methods are safe for concurrent use.
type Wheel struct {
	shards []shard
	assign atomic.Uint64
}

type shard struct {
	start time.Time

	mu      sync.Mutex
	cur     uint64 // all slots beginning at or before this unit are empty
	running bool   // expire is running and will arm the alarm itself
	closed  bool
	armed   bool
	alarmAt uint64 // the unit for which alarm is set, if armed
	alarm   *time.Timer
	count   int
	levels  [levels]*level // nil until first use
	due     *Timer         // the first of dueList, in the order of the slots
	dueLast *Timer
	calling *Timer    // its task is being called
	called  sync.Cond // signals a change of calling
}

type level struct {
	heads   [slots]*Timer
	used    [words]uint64 // a bit for each non-empty slot
	summary uint64        // a bit for each non-zero word of used
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
		s := &w.shards[i]
		s.start, s.called.L = now, &s.mu
	}
	return w
}

// Schedule makes t call task.Expire once, after d. It replaces an earlier deadline of t, but does not wait for an
// Expire that has just begun. Deadlines are limited to 18 years after New. After Close it does nothing.
func (w *Wheel) Schedule(t *Timer, d time.Duration, task Task) {
	s := w.shardOf(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	elapsed := time.Since(s.start)
	s.schedule(t, elapsed, elapsed, d, task)
}

// Continue is Schedule with d counted from the previous deadline of t, so that the lateness of consecutive
// deadlines does not accumulate. If t expired later than the tolerance for d, because the machine was busy, d is
// counted from now minus that tolerance.
func (w *Wheel) Continue(t *Timer, d time.Duration, task Task) {
	s := w.shardOf(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	elapsed := time.Since(s.start)
	s.schedule(t, elapsed, max(time.Duration(t.due())<<unitShift, elapsed-Tolerance(d)), d, task)
}

// Tolerance returns the maximum lateness of a Timer with a deadline in d on a machine that is not saturated: two
// milliseconds or a thousandth of d, whichever is longer.
func Tolerance(d time.Duration) time.Duration { return max(2*time.Millisecond, d/1000) }

// schedule schedules t for d after from. elapsed, the current time, and from are counted from s.start.
func (s *shard) schedule(t *Timer, elapsed, from, d time.Duration, task Task) {
	if s.closed {
		return
	}
	if t.list() != noList {
		s.unlink(t)
	}
	now := uint64(elapsed >> unitShift)
	if !s.running && !(s.armed && s.alarmAt <= now) {
		s.cur = now // no slots in between were occupied
	}
	t.task = task
	const unit = 1 << unitShift
	d = min(max(d, 0), maxDue<<unitShift-from-unit)
	s.arm(s.link(t, uint64((from+d+unit-1)>>unitShift)))
}

// Stop prevents a scheduled t from expiring. It returns false if t was not scheduled, or if its Expire has been
// called or is about to be.
func (w *Wheel) Stop(t *Timer) bool {
	if t.word.Load() == 0 {
		return false
	}
	s := w.shardOf(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.list() == noList {
		return false
	}
	s.unlink(t)
	t.task = nil
	return true
}

// ExpireIfDue ensures that the task of t has been called if its deadline has passed: it calls the task if the wheel
// has not, and waits for a call in progress. A task must not call it for its own Timer.
func (w *Wheel) ExpireIfDue(t *Timer) {
	s := w.shardOf(t)
	s.mu.Lock()
	for s.calling == t {
		s.called.Wait()
	}
	var task Task
	if t.list() != noList && t.due() <= s.now() && !s.closed {
		s.unlink(t)
		task, t.task = t.task, nil
	}
	s.mu.Unlock()
	if task != nil {
		task.Expire()
	}
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

// Close drops all timers. It does not wait for a task in progress, so a task may call it. No task is called
// afterwards.
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

// shardOf returns the shard of t, which never changes.
func (w *Wheel) shardOf(t *Timer) *shard {
	i := t.word.Load() >> shardShift
	if i == 0 {
		t.word.CompareAndSwap(0, (w.assign.Add(1)%uint64(len(w.shards))+1)<<shardShift)
		i = t.word.Load() >> shardShift
	}
	return &w.shards[i-1]
}

// now returns the unit in progress.
func (s *shard) now() uint64 { return uint64(time.Since(s.start) >> unitShift) }

// link puts t into the narrowest level that reaches its deadline, in the first slot that begins at the deadline or
// later, and returns the unit at which that slot begins. A deadline beyond the last level gets the most distant
// slot; when that slot is reached, the timer is found to be early.
func (s *shard) link(t *Timer, due uint64) (begin uint64) {
	ahead := max(due, s.cur) - s.cur
	for l := min(max(bits.Len64(ahead)-tickShift-slotBits, 0), levels-1); ; l++ {
		shift := tickShift + l
		reached := s.cur >> shift
		slot := max((due+1<<shift-1)>>shift, reached+1)
		if l == levels-1 {
			slot = min(slot, reached+slots-1)
		}
		if slot-reached < slots {
			s.push(t, due, l, int(slot)&(slots-1))
			return slot << shift
		}
	}
}

func (s *shard) push(t *Timer, due uint64, l, slot int) {
	if s.levels[l] == nil {
		s.levels[l] = new(level)
	}
	level := s.levels[l]
	head := level.heads[slot]
	t.next, t.prev = head, nil
	if head != nil {
		head.prev = t
	}
	level.heads[slot] = t
	level.used[slot/64] |= 1 << (slot % 64)
	level.summary |= 1 << (slot / 64)
	t.set(firstSlot+l<<slotBits+slot, due)
	s.count++
}

func (s *shard) pushDue(t *Timer) {
	t.next, t.prev = nil, s.dueLast
	if s.dueLast != nil {
		s.dueLast.next = t
	} else {
		s.due = t
	}
	s.dueLast = t
	t.set(dueList, t.due())
	s.count++
}

// unlink removes t from its list.
func (s *shard) unlink(t *Timer) {
	head, last := &s.due, &s.dueLast
	var l *level
	var slot int
	if list := t.list(); list != dueList {
		l, slot = s.levels[(list-firstSlot)>>slotBits], (list-firstSlot)&(slots-1)
		head, last = &l.heads[slot], nil
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		*head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else if last != nil {
		*last = t.prev
	}
	if l != nil && *head == nil {
		l.empty(slot)
	}
	t.next, t.prev = nil, nil
	t.set(noList, t.due())
	s.count--
}

// empty marks a slot as empty.
func (l *level) empty(slot int) {
	l.used[slot/64] &^= 1 << (slot % 64)
	if l.used[slot/64] == 0 {
		l.summary &^= 1 << (slot / 64)
	}
}

// arm ensures that the shard wakes at the given unit or earlier.
func (s *shard) arm(at uint64) {
	if s.running || s.closed || s.armed && at >= s.alarmAt {
		return
	}
	s.armed, s.alarmAt = true, at
	wait := max(time.Duration(at)<<unitShift-time.Since(s.start), 0)
	if s.alarm == nil {
		s.alarm = time.AfterFunc(wait, s.expire)
	} else {
		s.alarm.Reset(wait)
	}
}

// nextSlot returns the first unit after cur at which a non-empty slot begins.
func (s *shard) nextSlot() (begin uint64, ok bool) {
	for l, level := range &s.levels {
		if level == nil || level.summary == 0 {
			continue
		}
		next := s.cur>>(tickShift+l) + 1
		next += uint64(level.scan(int(next) & (slots - 1)))
		if at := next << (tickShift + l); !ok || at < begin {
			begin, ok = at, true
		}
	}
	return begin, ok
}

// scan returns the number of empty slots from slot from on, with wrap-around. At least one slot must be occupied.
func (l *level) scan(from int) int {
	word, bit := from/64, from%64
	if w := l.used[word] >> bit; w != 0 {
		return bits.TrailingZeros64(w)
	}
	word = (word + 1) % words
	skipped := bits.TrailingZeros64(bits.RotateLeft64(l.summary, -word)) // words
	return 64 - bit + 64*skipped + bits.TrailingZeros64(l.used[(word+skipped)%words])
}

// expire calls the due tasks and sets the alarm for the next one.
func (s *shard) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running || s.closed {
		return
	}
	s.running, s.armed = true, false
	for !s.closed {
		s.advance(s.now())
		if s.due == nil {
			break
		}
		for s.due != nil && !s.closed {
			t := s.due
			s.unlink(t)
			s.call(t)
		}
	}
	s.running = false
	if next, ok := s.nextSlot(); ok {
		s.arm(next)
	}
}

// call calls the task of t.
func (s *shard) call(t *Timer) {
	task := t.task
	t.task, s.calling = nil, t
	s.mu.Unlock()
	task.Expire()
	s.mu.Lock()
	s.calling = nil
	s.called.Broadcast()
}

// advance empties all slots that have begun.
func (s *shard) advance(now uint64) {
	for {
		begin, ok := s.nextSlot()
		if !ok || begin > now {
			s.cur = max(s.cur, now)
			return
		}
		s.cur = begin
		for l, level := range &s.levels {
			if level == nil || begin&(1<<(tickShift+l)-1) != 0 {
				continue
			}
			slot := int(begin>>(tickShift+l)) & (slots - 1)
			for t := level.heads[slot]; t != nil; t = level.heads[slot] {
				s.unlink(t)
				if due := t.due(); due > begin {
					s.link(t, due)
				} else {
					s.pushDue(t)
				}
			}
		}
	}
}
