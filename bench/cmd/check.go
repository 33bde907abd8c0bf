//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/proc"
)

const (
	// tolerance is how much worse than in baseline.json a figure may be, as a share.
	tolerance = 0.15
	// abroad is that on a machine of another kind than the figures are from, where even ratios to the floor differ.
	abroad = 1

	// Mode check compares many short runs rather than a few long ones, because disturbances of a machine come and go.
	checkRepeats  = 5
	checkDuration = 500 * time.Millisecond
	checkWarm     = 200 * time.Millisecond
	checkLimit    = 80 * time.Second
)

// baseline holds the committed figures by name. A time is a multiple of the floor's. Memory is in bytes, because it is the
// same on all machines and the floor uses little.
type baseline struct {
	Machine string             `json:"machine"`
	Figures map[string]float64 `json:"figures"`
}

// tolerance is how much worse than b a figure on a machine may be, as a share.
func (b baseline) tolerance(machine string) float64 {
	if b.Machine != machine {
		return abroad
	}
	return tolerance
}

func (b *bench) baselineFile() string { return filepath.Join(b.dir, "baseline.json") }

// sample is a figure of mode check, measured several times.
type sample struct {
	values []float64 // the median counts
	// noise is the spread of the floor's runs, or for memory of the server's, as a share of their median.
	noise float64
}

// sampleOf returns a figure of a task whose first target is the floor. Each run of the other target is compared with the
// run of the floor immediately before it.
func sampleOf(t task, m metric, of map[target]figures) (sample, bool) {
	base, values := of[t.targets[0]][m.field], of[t.targets[1]][m.field]
	if m == collected {
		return sample{values: values, noise: noiseOf(values)}, len(values) > 0
	}
	n := min(len(base), len(values))
	s := sample{}
	for i := range n {
		if base[i] <= 0 {
			return s, false
		}
		s.values = append(s.values, values[i]/base[i])
	}
	if n == 0 {
		return s, false
	}
	s.noise = noiseOf(base[:n])
	return s, true
}

// noiseOf returns how far runs are apart, as a share of their median.
func noiseOf(runs []float64) float64 {
	if len(runs) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(runs))
	if n := len(sorted); n >= 5 { // one outlier does not make a noisy machine
		sorted = sorted[:n-1]
	}
	return (sorted[len(sorted)-1] - sorted[0]) / medianOf(sorted)
}

// judgement is the verdict of mode check on a figure.
type judgement string

const (
	fine    judgement = "ok"
	worse   judgement = "WORSE"
	unclear judgement = "unclear: the machine is too noisy"
	unknown judgement = "not committed"
)

// minRuns is the number of runs needed to call a figure worse. With fewer, the noise of the machine is unknown; a machine
// that is too slow for more in the time of the check counts as noisy.
const minRuns = 3

// judge compares s with the committed figure. On a machine on which the floor itself moves more than the tolerance, a figure is
// only worse if each of its runs is, by more than that noise.
func (s sample) judge(committed, tolerance float64) judgement {
	bound := committed * (1 + tolerance)
	switch {
	case committed == 0:
		return unknown
	case medianOf(s.values) <= bound:
		return fine
	case len(s.values) < minRuns:
		return unclear
	case s.noise <= tolerance || slices.Min(s.values) > bound*(1+s.noise):
		return worse
	}
	return unclear
}

// check compares figures with baseline.json. A figure that seems worse is measured as often again and judged by all runs.
func check(b *bench) error {
	data, err := os.ReadFile(b.baselineFile())
	if err != nil {
		return err
	}
	var committed baseline
	if err := json.Unmarshal(data, &committed); err != nil {
		return fmt.Errorf("%s: %w", b.baselineFile(), err)
	}
	machine, err := proc.Machine()
	if err != nil {
		return err
	}
	allowed := committed.tolerance(machine)
	plan := checkPlan()
	r, err := b.measure(plan)
	if err != nil {
		return err
	}
	doubts := slices.DeleteFunc(slices.Clone(plan), func(t task) bool {
		return !slices.ContainsFunc(t.rows, func(row row) bool {
			s, ok := sampleOf(t, row.metric, r[t.name])
			return ok && s.judge(committed.Figures[t.name+"/"+row.field], allowed) != fine
		})
	})
	if len(doubts) > 0 {
		log.Print("measuring again what seems worse")
		b.repeats *= 2
		for i := range doubts {
			doubts[i].repeats *= 2
		}
		b.began = time.Now()
		b.limit /= 4
		if r, err = b.measure(doubts); err != nil {
			return err
		}
	}
	return verdicts(plan, r, committed, allowed)
}

// verdicts prints how the figures compare, and returns an error if one is worse.
func verdicts(plan []task, r results, committed baseline, tolerance float64) error {
	if tolerance == abroad {
		fmt.Printf("the committed figures are from another kind of machine (%s): only what is %.0f %% worse is said to be\n", committed.Machine, tolerance*100)
	}
	count := make(map[judgement]int)
	for _, t := range plan {
		for _, row := range t.rows {
			s, ok := sampleOf(t, row.metric, r[t.name])
			if !ok {
				continue // not measured
			}
			name, unit := t.name+"/"+row.field, "× floor"
			if row.metric == collected {
				unit = "bytes"
			}
			j := s.judge(committed.Figures[name], tolerance)
			count[j]++
			fmt.Printf("%-42s %8.4g %-7s  committed %8.4g  %d runs from %.4g to %.4g, noise %.0f %%  %s\n", row.title, medianOf(s.values), unit,
				committed.Figures[name], len(s.values), slices.Min(s.values), slices.Max(s.values), s.noise*100, j)
		}
	}
	if count[unclear] > 0 {
		fmt.Printf("%d figures seem worse, but nothing can be said on this machine now: the floor itself moves more than %.0f %%, or there was no time for %d runs\n",
			count[unclear], tolerance*100, minRuns)
	}
	if count[worse] > 0 {
		return fmt.Errorf("%d figures are more than %.0f %% worse than committed", count[worse], tolerance*100)
	}
	if len(count) == 0 {
		return errors.New("nothing was measured")
	}
	return nil
}

// writeBaseline measures the figures of mode check and stores them, unless the machine is too noisy.
func writeBaseline(b *bench) error {
	b.repeats, b.duration, b.warm, b.limit = checkRepeats, checkDuration, checkWarm, 0
	plan := checkPlan()
	r, err := b.measure(plan)
	if err != nil {
		return err
	}
	for _, t := range plan {
		for _, row := range t.rows {
			if s, ok := sampleOf(t, row.metric, r[t.name]); ok && s.noise > 2*tolerance {
				return fmt.Errorf("%s is not written: in %s the floor moves by %.0f %%", b.baselineFile(), t.name, s.noise*100)
			}
		}
	}
	all := baselineOf(plan, r)
	if all.Machine, err = proc.Machine(); err != nil {
		return err
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.baselineFile(), append(data, '\n'), 0o644)
}

// baselineOf returns the figures of r for plan, without the machine. A figure is the value that three runs of four do not
// exceed, so that the median of other runs rarely exceeds it by chance.
func baselineOf(plan []task, r results) baseline {
	all := baseline{Figures: make(map[string]float64)}
	for _, t := range plan {
		for _, row := range t.rows {
			if s, ok := sampleOf(t, row.metric, r[t.name]); ok {
				all.Figures[t.name+"/"+row.field] = slices.Sorted(slices.Values(s.values))[len(s.values)*3/4]
			}
		}
	}
	return all
}
