package soak

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// vigil records the deadlines of things that must end by themselves. Its zero value is ready for use.
type vigil[T comparable] struct {
	mu     sync.Mutex
	doomed map[T]doom
}

type doom struct {
	who string
	due time.Time
}

// watch records that what must end by due. who is for messages.
func (v *vigil[T]) watch(what T, who string, due time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.doomed == nil {
		v.doomed = make(map[T]doom)
	}
	v.doomed[what] = doom{who, due}
}

// overdue returns, once each, the things that have not ended a grace period after they were due.
func (v *vigil[T]) overdue(now time.Time, grace time.Duration, lasts func(T) bool) (late []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for what, d := range v.doomed {
		if !lasts(what) {
			delete(v.doomed, what)
		} else if now.After(d.due.Add(grace)) {
			delete(v.doomed, what)
			late = append(late, fmt.Sprintf("%v of %s should have ended %v ago", what, d.who, now.Sub(d.due).Round(time.Millisecond)))
		}
	}
	slices.Sort(late)
	return late
}

// attendance knows which handlers are running. Its zero value is ready for use.
type attendance struct {
	mu      sync.Mutex
	running map[*visit]struct{}
}

// visit is a running handler.
type visit struct {
	what, who string
	since     time.Time
}

// enter records that a handler runs until leave is called.
func (a *attendance) enter(what, who string) (leave func()) {
	v := &visit{what: what, who: who, since: time.Now()}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == nil {
		a.running = make(map[*visit]struct{})
	}
	a.running[v] = struct{}{}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.running, v)
	}
}

// present returns a complaint about each running handler.
func (a *attendance) present(now time.Time) (list []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for v := range a.running {
		list = append(list, fmt.Sprintf("handler %q of client %s has been running for %v", v.what, v.who, now.Sub(v.since).Round(time.Millisecond)))
	}
	slices.Sort(list)
	return list
}
