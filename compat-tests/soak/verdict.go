package soak

import (
	"errors"
	"fmt"
	"path"
	"runtime/pprof"
	"strings"
	"time"
)

// maxFaults bounds the faults, and the warnings, that are reported for a round.
const maxFaults = 10

// fail records a fault and ends the round.
func (r *round) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) == 0 {
		r.dump = goroutines()
	}
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, fmt.Sprintf(format, args...))
	}
	r.giveUp()
}

// failed reports whether the round has failed.
func (r *round) failed() bool { return r.ctx.Err() != nil }

// warn records a warning of a server. It is printed if the round fails.
func (r *round) warn(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.warnings) < maxFaults {
		r.warnings = append(r.warnings, text)
	}
}

// goroutines returns the stacks of goroutines in functions of this module, innermost frame first.
func goroutines() string {
	var b strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	var stacks []string
	_, profile, _ := strings.Cut(b.String(), "\n") // the first line is the total
	for text := range strings.SplitSeq(profile, "\n\n") {
		count, _, _ := strings.Cut(text, " ")
		var frames []string
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) == 4 && f[0] == "#" && f[1] != "labels:" && len(frames) < 12 {
				frames = append(frames, path.Base(f[2])+" "+path.Base(f[3]))
			}
		}
		if stack := strings.Join(frames, " < "); strings.Contains(text, "/myriad/") && !strings.Contains(stack, "soak.goroutines") {
			stacks = append(stacks, fmt.Sprintf("  %s: %s", count, stack))
		}
	}
	const most = 50
	if len(stacks) > most {
		stacks = append(stacks[:most], fmt.Sprintf("  … and %d others", len(stacks)-most))
	}
	return "goroutines when it failed, alike ones counted:\n" + strings.Join(stacks, "\n")
}

// await waits until complaints returns nothing. After d, its results are recorded as faults.
func (r *round) await(d time.Duration, complaints func() []string) bool {
	for deadline := time.Now().Add(d); ; time.Sleep(20 * time.Millisecond) {
		rest := complaints()
		switch {
		case len(rest) == 0:
			return true
		case r.failed():
			return false
		case time.Now().After(deadline):
			for _, c := range rest {
				r.fail("%s", c)
			}
			return false
		}
	}
}

func prefixed(prefix string, list []string) []string {
	for i := range list {
		list[i] = prefix + list[i]
	}
	return list
}

// watch looks for sessions and broadcasts that take too long until done is closed or the round fails.
func (r *round) watch(done chan struct{}) {
	for ended := false; !ended; {
		select {
		case <-done:
			return
		case <-r.ctx.Done():
			ended = true
		case <-time.After(50 * time.Millisecond):
		}
		for _, late := range r.overdue() {
			r.fail("%s", late)
		}
		if began := r.ticking.Load(); began != nil {
			if took, control := time.Since(*began), r.pulse.worst(*began); took > limit(control) {
				r.fail("a broadcast has not returned for %v, while a plain connection took %v at most", took, control)
				return
			}
		}
	}
}

// heartbeatGrace is added to the heartbeat of a session, beside the delay of the machine.
const heartbeatGrace = 3 * time.Second

func (r *round) overdue() []string {
	grace := heartbeatGrace + limit(r.pulse.worst(time.Now().Add(-r.plan.heartbeat())))
	return r.sessions.overdue(time.Now(), grace, func(s session) bool {
		return r.nodes[s.node].server.Engine().Session(s.id) != nil
	})
}

// tooBusy reports whether the machine may have kept pings from being answered in time. A ping and its pong pass through
// more goroutines than a byte of the pulse, and each may have to wait.
func (r *round) tooBusy(since time.Time) bool { return r.pulse.worst(since) > r.plan.pingTimeout/10 }

// judge fails the round if a client that behaves well met an error, unless the machine was too busy to answer pings in
// time.
func (r *round) judge(c *client, err error) {
	if err == nil || r.failed() {
		return
	}
	var late *lateError
	isLate := errors.As(err, &late)
	if isLate && limit(r.pulse.worst(c.since)) > patience || !isLate && r.tooBusy(c.since) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.starved++
		return
	}
	time.Sleep(100 * time.Millisecond) // the server may be about to notice
	r.fail("client %v behaves well: %v; its reason on the server: %q", c, err, r.ledger.reason(c.key))
}

// accuse names the silent clients whose connections are still open on the server.
func (r *round) accuse() {
	for _, c := range r.held {
		for _, w := range c.connections() {
			if !w.hasEnded() {
				r.fail("the server holds the connection %v of client %v, which has been silent for about %v",
					w.LocalAddr(), c, time.Since(c.since).Round(time.Second))
			}
		}
	}
}
