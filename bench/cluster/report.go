//go:build linux

package main

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"
)

// figure is one thing that is measured.
type figure struct {
	what string
	on   kind
}

// results holds the result of each run, by the size of the payload.
type results map[int]map[figure][]float64

func (r results) add(size int, f figure, v float64) {
	if r[size] == nil {
		r[size] = make(map[figure][]float64)
	}
	r[size][f] = append(r[size][f], v)
}

// median returns the median of the runs; NaN if there are none.
func (r results) median(size int, what string, on kind) float64 {
	runs := slices.Sorted(slices.Values(r[size][figure{what, on}]))
	n := len(runs)
	if n == 0 {
		return math.NaN()
	}
	return (runs[(n-1)/2] + runs[n/2]) / 2
}

// last shows the last run.
func (r results) last(size int) string {
	var s []string
	for f, runs := range r[size] {
		s = append(s, fmt.Sprintf("%s %s %.4g", f.on, f.what, runs[len(runs)-1]))
	}
	slices.Sort(s)
	return strings.Join(s, ", ")
}

// unheard marks a figure without a subscriber.
const unheard = `\*`

// mark returns unheard if the subscriber was disconnected in most runs.
func (r results) mark(size int, what string) string {
	if r.median(size, what, "redis-benchmark") > 0 {
		return unheard
	}
	return ""
}

// busy is the load average from which on rates say more of the machine than of the programs.
const busy = 1.5

// document returns the text of CLUSTER.md.
func (r results) document(machine string, load float64, repeats, messages int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "# Cluster\n\nWritten by `make bench-cluster`: the CPU time of nodes that are connected by one Redis server, Go nodes with "+
		"`adapter/redis` and Node.js nodes with `@socket.io/redis-adapter`. [README.md](README.md#cluster) describes the method.\n\n"+
		"- %s; load average before: %.1f\n- medians of %d runs with %s broadcasts each; %s; %s\n\n",
		machine, load, repeats, thousands(float64(messages)), strings.Replace(runtime.Version(), "go", "Go ", 1), time.Now().UTC().Format(time.DateOnly))
	s.WriteString("| CPU per broadcast, µs | payload | Node.js | Go | Node.js ÷ Go |\n|---|--:|--:|--:|--:|\n")
	for _, row := range []struct{ what, title string }{
		{"publish", "published, no socket in the room"},
		{"receive " + room, "received, one socket in the room, delivery included"},
		{"receive " + emptyRoom, "received, no socket in the room"},
	} {
		for _, size := range sizes {
			n, g := r.median(size, row.what, nodeNode), r.median(size, row.what, goNode)
			fmt.Fprintf(&s, "| %s | %s B | %.1f | %.1f | %.1f |\n", row.title, thousands(float64(size)), n, g, n/g)
		}
	}
	s.WriteString("\nEvents per second through one Redis server with a core to itself and one subscriber, so that Redis sends each message once. " +
		"redis-benchmark publishes messages of the same size as the node's, on 50 connections with 1 or 16 commands in flight; the goal is 80 % of " +
		"its rate with 1, its default. Bare connections are one that only publishes such messages, in batches of the same size as a node's, and one " +
		"that discards them.\n\n" +
		"| payload | redis-benchmark | the same, pipelines of 16 | bare connections | Go node | ÷ redis-benchmark | ÷ pipelines of 16 | ÷ bare connections | |\n" +
		"|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, size := range sizes {
		one, many := r.median(size, "pipeline 1", "redis-benchmark"), r.median(size, "pipeline 16", "redis-benchmark")
		floor, node := r.median(size, "rate", bare), r.median(size, "rate", goNode)
		verdict := "**not reached**"
		switch {
		case load > busy:
			verdict = "unclear"
		case node >= 0.8*one:
			verdict = "reached"
		}
		fmt.Fprintf(&s, "| %s B | %s%s | %s%s | %s | %s | %.2f | %.2f | %.2f | %s |\n", thousands(float64(size)), thousands(one), r.mark(size, "lost 1"),
			thousands(many), r.mark(size, "lost 16"), thousands(floor), thousands(node), node/one, node/many, node/floor, verdict)
	}
	if strings.Contains(s.String(), unheard) {
		s.WriteString("\n\\* Mostly without a subscriber: redis-benchmark publishes more than a subscriber on its core can read, and Redis closes a " +
			"connection for which 32 MB wait. Nodes and bare connections keep their subscriber to the end.\n")
	}
	if load > busy {
		s.WriteString("\nThe machine had other work to do, so the rates say nothing about the goal. CPU per broadcast is less affected.\n")
	}
	var commands []string
	for _, size := range sizes {
		commands = append(commands, fmt.Sprintf("%.3f", r.median(size, "commands", goNode)))
	}
	fmt.Fprintf(&s, "\nPUBLISH commands per broadcast of a Go node: %s.\n", strings.Join(commands, ", "))
	return s.String()
}

// thousands writes v as an integer with commas.
func thousands(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	n := int(math.Round(v))
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(float64(n/1000)), n%1000)
}
