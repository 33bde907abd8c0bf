package soak

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// Config configures a run. Its zero value runs one round.
type Config struct {
	Seed    uint64
	For     time.Duration // length of the run, which covers each kind at least once; zero means one round
	Round   time.Duration // how long clients connect in a round
	Clients int           // at a time
	Kinds   []string      // of servers; nil means all
	Actions []string      // of clients; nil means all; a leading "-" excludes one
	Rounds  []int         // numbers, from 0; nil means all
	Out     io.Writer
}

// fullRun is the length from which on a run must include every action.
const fullRun = 2 * time.Minute

// soak is the state of a run.
type soak struct {
	config   Config
	tb       testing.TB
	redis    *redistest.Server
	secure   *tls.Config
	certFile string
	keyFile  string

	mu   sync.Mutex
	done tally // actions of clients
}

// Run runs the soak test. It stops after the first round that fails.
func Run(tb testing.TB, config Config) {
	s := &soak{config: config, tb: tb, done: make(tally)}
	s.certFile, s.keyFile, s.secure = newCertificate(tb)
	kinds := config.Kinds
	if len(kinds) == 0 {
		kinds = Kinds
	}
	if slices.Contains(kinds, kindCluster) {
		s.redis = redistest.Start(tb)
	}
	began := time.Now()
	s.printf("soak: seed %d, %v, rounds of %v with %d clients\n", config.Seed, config.For, config.Round, config.Clients)
	ran := 0
	for number := 0; number < len(kinds) || time.Since(began) < config.For; number++ {
		if len(config.Rounds) > 0 && !slices.Contains(config.Rounds, number) {
			if number > slices.Max(config.Rounds) {
				break
			}
			continue
		}
		p := newPlan(newRand(config.Seed, number), kinds[number%len(kinds)], config.Clients, config.Round)
		if number < len(kinds) {
			p.stubborn = false // it takes half a minute
		}
		if !s.round(number, p) {
			return
		}
		ran++
		if config.For == 0 {
			break
		}
	}
	s.report(ran, time.Since(began))
}

func (s *soak) printf(format string, args ...any) { fmt.Fprintf(s.config.Out, format, args...) }

// round runs a round and reports whether it passed.
func (s *soak) round(number int, p *plan) bool {
	began := time.Now()
	r := newRound(s, number, p)
	r.run()
	if len(r.faults) == 0 {
		s.printf("round %d passed in %v: %v\n", number, time.Since(began).Round(time.Millisecond), p)
		s.printf("  %s\n", r.summary())
		return true
	}
	s.printf("round %d FAILED after %v: %v\n", number, time.Since(began).Round(time.Millisecond), p)
	for _, w := range r.warnings {
		s.printf("  the server warned: %s\n", w)
	}
	s.printf("%s\n", r.dump)
	for _, fault := range r.faults {
		s.tb.Errorf("soak: seed %d, round %d (%s): %s", s.config.Seed, number, p.kind, fault)
	}
	s.printf("to repeat it: SEED=%d ROUNDS=%d%s make soak\n", s.config.Seed, number, s.filters())
	return false
}

func (s *soak) filters() (text string) {
	if len(s.config.Kinds) > 0 {
		text += " KINDS=" + strings.Join(s.config.Kinds, ",")
	}
	if len(s.config.Actions) > 0 {
		text += " ACTIONS=" + strings.Join(s.config.Actions, ",")
	}
	return text
}

// count adds n to the actions of this name.
func (s *soak) count(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[what] += n
}

// report prints how often each action was performed. A full run fails if one never was.
func (s *soak) report(rounds int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.printf("soak: seed %d: %d rounds in %v. Actions:\n", s.config.Seed, rounds, took.Round(time.Second))
	const width = 110
	line := " "
	for _, name := range slices.Sorted(maps.Keys(s.done)) {
		item := fmt.Sprintf(" %s %d;", name, s.done[name])
		if len(line)+len(item) > width {
			s.printf("%s\n", line)
			line = " "
		}
		line += item
	}
	s.printf("%s\n", line)
	if s.config.For < fullRun || len(s.config.Kinds)+len(s.config.Actions)+len(s.config.Rounds) > 0 {
		return
	}
	if never := s.done.missing(everything()); len(never) > 0 {
		s.tb.Errorf("soak: seed %d: never done: %s", s.config.Seed, strings.Join(never, ", "))
	}
}

// everything returns the names of all actions.
func everything() (names []string) {
	for _, a := range actions {
		names = append(names, a.name)
	}
	for _, st := range steps {
		names = append(names, st.name)
	}
	for _, carrier := range carriers {
		names = append(names, opened(carrier))
	}
	return append(names, crowded)
}
