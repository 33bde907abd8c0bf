package soak

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// action is the behaviour of a client from its first connection to its last.
type action struct {
	name   string
	weight int
	// polite means that an error is a fault of the server.
	polite bool
	// fits reports whether the action makes sense in a round. Nil means that it always does.
	fits func(*plan) bool
	run  func(c *client) error
}

// choose returns an element of list, with a probability proportional to its weight.
func choose[T any](rng *rand.Rand, list []T, weight func(T) int) T {
	total := 0
	for _, t := range list {
		total += weight(t)
	}
	n := rng.IntN(total)
	for _, t := range list {
		if n -= weight(t); n < 0 {
			return t
		}
	}
	panic("unreachable")
}

// wants reports whether an action belongs to the run.
func (c *Config) wants(action string) bool {
	if slices.Contains(c.Actions, "-"+action) {
		return false
	}
	onlyLeftOut := !slices.ContainsFunc(c.Actions, func(name string) bool { return !strings.HasPrefix(name, "-") })
	return onlyLeftOut || slices.Contains(c.Actions, action)
}

// choose returns an action for a round, or nil if none fits.
func (s *soak) choose(rng *rand.Rand, p *plan) *action {
	var fitting []*action
	for i := range actions {
		a := &actions[i]
		if s.config.wants(a.name) && (a.fits == nil || a.fits(p)) {
			fitting = append(fitting, a)
		}
	}
	if len(fitting) == 0 {
		return nil
	}
	return choose(rng, fitting, func(a *action) int { return a.weight })
}
