package epoll

import (
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// guardTick is the guard's polling interval. A Run seen twice has lasted one to two ticks.
	guardTick = time.Millisecond
	// guardMaxTick is the interval when no loop has been taken over for a long time: on some machines, waking up a
	// thousand times a second takes several percent of a core.
	guardMaxTick = 8 * time.Millisecond
	// guardTrust is the number of ticks with Runs, none of which blocked, after which the tick doubles.
	guardTrust = 1000
	// guardRest is the time without a Run after which the guard sleeps.
	guardRest = 16 * time.Millisecond
)

// guard takes loops away from owners that stay in a Run.
//
// The word of a loop holds the number of its owner in the upper half and a counter in the lower half; the counter
// is odd during a Run. The owner increments it before and after a Run. If the guard sees the same odd word twice,
// it stores the number of the next owner and starts that one. The old owner finds the word changed when it next
// increments the counter.
type guard struct {
	owner   *Server
	loops   []*loop
	resting atomic.Bool
	wake    chan struct{} // one token for each rest ended by enter
	stopped chan struct{}
	once    sync.Once // closes stopped
}

func newGuard(s *Server, loops []*loop) *guard {
	return &guard{owner: s, loops: loops, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// enter is called by the owner of l before a Run. Its result is passed to leave.
func (g *guard) enter(l *loop) (word uint64) {
	word = count(l.word.Load())
	l.word.Store(word)
	if g.resting.Load() && g.resting.CompareAndSwap(true, false) {
		g.wake <- struct{}{}
	}
	return word
}

// leave is called after a Run. It reports whether the caller still owns l.
func (g *guard) leave(l *loop, word uint64) bool {
	return l.word.CompareAndSwap(word, count(word))
}

// seize makes the next goroutine the owner of l, unless the word has changed.
func (g *guard) seize(l *loop, word uint64) bool {
	return l.word.CompareAndSwap(word, uint64(ownerOf(word)+1)<<32)
}

func ownerOf(word uint64) uint32 { return uint32(word >> 32) }

func count(word uint64) uint64 { return uint64(ownerOf(word))<<32 | uint64(uint32(word)+1) }

func running(word uint64) bool { return word&1 != 0 }

// watch is the goroutine of the guard.
func (g *guard) watch() {
	pprof.SetGoroutineLabels(guardLabel)
	seen := make([]uint64, len(g.loops))
	pace := pace{tick: guardTick}
	for !g.ended() {
		if pace.idle >= guardRest {
			g.rest(seen)
			pace.idle = 0
		}
		time.Sleep(pace.tick)
		pace.next(g.look(seen))
	}
}

// pace decides how often the guard looks at the loops.
type pace struct {
	tick  time.Duration
	trust int           // ticks with Runs since tick was set
	idle  time.Duration // without any Run
}

// next adjusts the pace to the findings after a tick.
func (p *pace) next(active, seized bool) {
	switch {
	case seized:
		*p = pace{tick: guardTick}
	case active:
		p.idle = 0
		if p.trust++; p.trust >= guardTrust && p.tick < guardMaxTick {
			p.tick *= 2
			p.trust = 0
		}
	default:
		p.idle += p.tick
	}
}

// rest returns when there is a Run.
func (g *guard) rest(seen []uint64) {
	g.resting.Store(true)
	// A Run that began earlier has not ended the rest.
	if active, _ := g.look(seen); active && g.resting.CompareAndSwap(true, false) {
		return
	}
	select {
	case <-g.wake:
	case <-g.stopped:
	}
}

// look seizes each loop whose Run was already seen. It reports whether there has been any Run since, and whether a
// loop was seized.
func (g *guard) look(seen []uint64) (active, seized bool) {
	for i, l := range g.loops {
		word := l.word.Load()
		if word != seen[i] {
			active = true
		} else if running(word) && g.seize(l, word) {
			seized = true
			g.owner.takeovers.Add(1)
			l.detach.blocked()
			l.current.scatter()
			go l.serve()
		}
		seen[i] = word
	}
	return active, seized
}

// stop ends the guard. Its loops must have ended.
func (g *guard) stop() { g.once.Do(func() { close(g.stopped) }) }

func (g *guard) ended() bool {
	select {
	case <-g.stopped:
		return true
	default:
		return false
	}
}

const (
	minDetached = 64
	maxDetached = 8192
	calmRuns    = 1024
)

// detach decides whether a Run gets its own goroutine. That costs more than running it on the loop, but many
// handlers that wait at the same time would otherwise delay the loop one after the other. After a Run that blocked,
// the next 64 are detached; the number doubles if another one blocks before 1024 quick Runs.
type detach struct {
	left  int // Runs still to be detached
	level int
	calm  int // quick Runs since the last blocked one
}

func (d *detach) due() bool {
	if d.left == 0 {
		return false
	}
	d.left--
	return true
}

func (d *detach) blocked() {
	d.level = min(max(2*d.level, minDetached), maxDetached)
	d.left = d.level
	d.calm = 0
}

func (d *detach) quick() {
	if d.calm++; d.calm == calmRuns {
		d.calm = 0
		d.level = 0
	}
}
