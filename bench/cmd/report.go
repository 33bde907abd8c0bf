//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/proc"
)

// full measures everything and writes the results. If a run has failed, the results say so and full returns an error.
func full(b *bench, f *flags) error {
	plan := fullPlan()
	r, failed := b.measure(plan)
	if f.only != "" || r == nil {
		return failed
	}
	machine, err := describe(b)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"RESULTS.md":   document(plan, r, b, machine, failed),
		"results.json": append(data, '\n'),
		"chart.svg":    bars(r),
		"curves.svg":   curves(r),
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o644); err != nil {
			return err
		}
	}
	if err := writeBaseline(b); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		return failed // the next attempt continues with the kept measurements
	}
	return b.done()
}

// goal is one of the goals of the server.
type goal struct {
	title string
	task  string
	on    target
	metric
	bound float64 // in the metric's unit
	// perFloor is the bound as a multiple of the floor, for figures that depend on the machine. Zero means none.
	perFloor float64
}

// The bounds in µs are for a machine on which the floor takes 25 µs for a connection, 6.5 µs for an event, and 3.2 and
// 6.6 µs for a delivery.
var goals = []goal{
	{"resident bytes per idle WebSocket connection, 10,000, `ListenAndServe`", "idle/own", own, resident, 1000, 0},
	{"the same, `http.Handler`", "idle/websocket", myriad, resident, 1000, 0},
	{"resident bytes per idle polling connection, `ListenAndServe`", "idle/polling/own", own, resident, 16_000, 0},
	{"the same, `http.Handler`", "idle/polling", myriad, resident, 16_000, 0},
	{"CPU per connection made, `http.Handler`", "idle/websocket", myriad, connectCPU, 80, 80. / 25},
	{"CPU per connection made, `ListenAndServe`", "idle/own", own, connectCPU, 55, 55. / 25},
	{"CPU per acknowledged event, 1,000 clients", "ack/1000/32", myriad, cpu, 8.5, 8.5 / 6.5},
	{"CPU per delivery of a broadcast, 1,000 in the room", "broadcast/1000", myriad, cpu, 3.5, 3.5 / 3.2},
	{"CPU per delivery of a broadcast, 10,000 in the room", "broadcast/10000", myriad, cpu, 7, 7 / 6.6},
	{"CPU per ping and pong", "heartbeat/10000", myriad, cpu, 8, 0},
}

// document returns the text of RESULTS.md.
func document(plan []task, r results, b *bench, machine string, failed error) []byte {
	var s bytes.Buffer
	s.WriteString("# Results\n\n" +
		"Written by `make bench`; [README.md](README.md) says what is measured, and how. CPU is what the server uses, user and system time together, " +
		"per operation. The floor is a bare epoll loop with canned answers; Node is the official server. Absolute figures are those " +
		"of one machine: compare ratios, which are from the same run.\n\n")
	s.WriteString(machine)
	fmt.Fprintf(&s, "- figures are medians of %d runs (some of fewer), in turns on all servers, of %s each\n\n", b.repeats, b.duration)
	if failed != nil {
		fmt.Fprintf(&s, "**Runs that failed:**\n\n```\n%v\n```\n\n", failed)
	}
	s.WriteString("![CPU and memory as a share of the Node server's](chart.svg)\n\n## Goals\n\n" +
		"A goal in µs is also reached when the multiple of the floor is, since times move with the machine.\n\n" +
		"| | floor | Node | Myriad | goal | × floor | goal × floor | Node ÷ Myriad | |\n|---|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, g := range goals {
		s.WriteString(g.line(r))
	}
	s.WriteString(latencyLine(r) + coresLine(r) + stalledLine(r) + stormLine(r))
	s.WriteString("\nThe goal of a million connections has a run of its own, `make million`. Every run checks what it receives: with one event lost, " +
		"doubled, changed or out of order there would be no figure.\n\n## All figures\n\n" +
		"| | unit | floor | Node | Myriad | × floor | Node ÷ Myriad | spread |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	for _, t := range plan {
		for _, row := range t.rows {
			fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", row.title, row.unit,
				cell(r.value(t.name, floor, row.metric)), cell(r.value(t.name, node, row.metric)), cell(r.value(t.name, t.myriad(), row.metric)),
				cell(r.ratio(t.name, t.myriad(), floor, row.metric)), cell(r.ratio(t.name, node, t.myriad(), row.metric)),
				spread(r[t.name][t.myriad()][row.field]))
		}
	}
	s.WriteString("\nSpread is the distance between the lowest and the highest run of Myriad, as a share of the median.\n\n" +
		"## How cost grows\n\n![CPU per operation by clients, payload and room](curves.svg)\n")
	return s.Bytes()
}

// myriad returns which of the two ways into Myriad the task measures.
func (t task) myriad() target {
	if !slices.Contains(t.targets, myriad) {
		return own
	}
	return myriad
}

func (g goal) line(r results) string {
	v, ok := r.value(g.task, g.on, g.metric)
	ratio, _ := r.ratio(g.task, g.on, floor, g.metric)
	perFloor, times := "", ""
	reached := v <= g.bound
	if g.perFloor > 0 {
		perFloor = "≤ " + number(g.perFloor)
		reached = reached || ratio <= g.perFloor
	}
	atFloor, hasFloor := r.value(g.task, floor, g.metric)
	if hasFloor && g.unit == cpu.unit {
		times = number(ratio)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | ≤ %s %s | %s | %s | %s | %s |\n", g.title,
		cell(atFloor, hasFloor), cell(r.value(g.task, node, g.metric)), cell(v, ok),
		number(g.bound), g.unit, times, perFloor, cell(r.ratio(g.task, node, g.on, g.metric)), verdict(ok && reached, hasFloor && atFloor > g.bound))
}

func latencyLine(r results) string {
	const task, bound = "latency/1000", 2000
	f, ok1 := r.value(task, floor, percentile)
	v, ok2 := r.value(task, myriad, percentile)
	return fmt.Sprintf("| added latency of an acknowledged event, 1,000 clients at 1 event/s, p99 | %s | %s | %s | ≤ %d µs above the floor | | | | %s |\n",
		cell(f, ok1), cell(r.value(task, node, percentile)), cell(v, ok2), bound, verdict(ok1 && ok2 && v-f <= bound, false))
}

// coresLine compares two cores with one by the cost of an event, because there may be no third core for the generator.
func coresLine(r results) string {
	const bound = 1.7
	gain := func(on target) (float64, bool) {
		one, ok1 := r.value("cores/1", on, cpu)
		two, ok2 := r.value("cores/2", on, cpu)
		return 2 * one / two, ok1 && ok2
	}
	atFloor, hasFloor := gain(floor)
	v, ok := gain(myriad)
	return fmt.Sprintf("| two cores against one, acknowledged events: 2 × CPU per event on one ÷ that on two | %s | – | %s | ≥ %.1f × | | | | %s |\n",
		cell(atFloor, hasFloor), cell(v, ok), bound, verdict(ok && v >= bound, hasFloor && atFloor < bound))
}

// stalledLine compares broadcasts with and without clients that never read: the others must not notice them.
func stalledLine(r results) string {
	const bound = 1.1
	var cells [3]string
	var of [3]float64
	for i, on := range []target{floor, node, myriad} {
		without, ok1 := r.value("broadcast/1000", on, cpu)
		with, ok2 := r.value("broadcast/stalled", on, cpu)
		of[i] = with / without
		cells[i] = cell(of[i], ok1 && ok2)
	}
	return fmt.Sprintf("| 1 %% of clients never read: CPU per delivery to the others, ÷ that without such clients | %s | %s | %s | ≤ %.1f × | | | | %s |\n",
		cells[0], cells[1], cells[2], bound, verdict(of[2] <= bound, of[0] > bound))
}

// stormLine reports the memory per connection at the peak of a storm.
func stormLine(r results) string {
	const task, bound = "storm/20000", 32 << 10
	v, ok := r.value(task, myriad, peak)
	return fmt.Sprintf("| 20,000 connections at once, all answered: peak of resident bytes for each | %s | %s | %s | ≤ %s B | | | | %s |\n",
		cell(r.value(task, floor, peak)), cell(r.value(task, node, peak)), cell(v, ok), thousands(bound), verdict(ok && v <= bound, false))
}

// verdict returns whether a goal is reached and, if not, whether the floor misses it, too.
func verdict(reached, beyondFloor bool) string {
	switch {
	case reached:
		return "reached"
	case beyondFloor:
		return "**not reached**, nor by the floor"
	}
	return "**not reached**"
}

func cell(v float64, ok bool) string {
	if !ok {
		return ""
	}
	return number(v)
}

// number writes v with three digits, or all that are before the point.
func number(v float64) string {
	if v < 0 {
		return "-" + number(-v)
	}
	if v >= 1000 {
		return thousands(int(math.Round(v)))
	}
	return fmt.Sprintf("%.*f", min(2, max(0, 2-digitsBefore(v))), v)
}

func digitsBefore(v float64) int {
	if v < 10 {
		return 0
	}
	return int(math.Log10(v))
}

func spread(runs []float64) string {
	if len(runs) < 2 {
		return ""
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range runs {
		low, high = min(low, v), max(high, v)
	}
	median := medianOf(runs)
	if median == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", (high-low)/median*100)
}

// describe returns a list of the conditions of the measurement.
func describe(b *bench) (string, error) {
	var s strings.Builder
	about, err := proc.Machine()
	if err != nil {
		return "", err
	}
	version, err := exec.CommandContext(b.ctx, "node", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(b.dir, "node", "package.json"))
	if err != nil {
		return "", err
	}
	var pkg struct{ Dependencies map[string]string }
	if err := json.Unmarshal(data, &pkg); err != nil {
		return "", err
	}
	fmt.Fprintf(&s, "- %s; load average before: %.1f\n", about, b.kept.Load)
	fmt.Fprintf(&s, "- %s; Node %s with socket.io %s\n", strings.Replace(runtime.Version(), "go", "Go ", 1), bytes.TrimSpace(version), pkg.Dependencies["socket.io"])
	fmt.Fprintf(&s, "- server on core 0, load generator on core %s, loopback; %s\n", loadCores(), time.Now().UTC().Format(time.DateOnly))
	return s.String(), nil
}
