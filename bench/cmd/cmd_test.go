//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.0312: "0.03", 3.456: "3.46", 34.56: "34.6", 345.6: "346", 3456: "3,456", 1234567: "1,234,567", -2.5: "-2.50",
	} {
		if got := number(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	f := figures{"cpu": {9, 1, 5}, "p50": {4, 2}, "p99": nil}
	for _, c := range []struct {
		metric
		want float64
		ok   bool
	}{{cpu, 5, true}, {median, 3, true}, {percentile, 0, false}} {
		if got, ok := f.value(c.metric); got != c.want || ok != c.ok {
			t.Errorf("%s: got %v, %v", c.field, got, ok)
		}
	}
}

func TestSpread(t *testing.T) {
	if got := spread([]float64{9, 10, 12}); got != "30 %" {
		t.Errorf("got %q", got)
	}
	if got := spread([]float64{9}); got != "" {
		t.Errorf("one run: got %q", got)
	}
}

// made returns results of all plans in which all servers need the same, by run.
func made(runs ...float64) results {
	r := make(results)
	for _, t := range append(fullPlan(), checkPlan()...) {
		r[t.name] = make(map[target]figures)
		for _, on := range t.targets {
			f := make(figures)
			for _, row := range t.rows {
				f[row.field] = runs
			}
			r[t.name][on] = f
		}
	}
	return r
}

func TestDocument(t *testing.T) {
	text := string(document(fullPlan(), made(1), &bench{repeats: 3}, "- a machine\n", nil))
	if strings.Contains(text, "**not reached**") || strings.Contains(text, "NaN") {
		t.Errorf("goals are not reached with 1 of everything:\n%s", text)
	}
	text = string(document(fullPlan(), made(1e6), &bench{repeats: 3}, "", errors.New("one has failed")))
	if got := strings.Count(text, "**not reached**"); got != 6 { // the goals without a multiple of the floor
		t.Errorf("%d goals are not reached, want 6:\n%s", got, text)
	}
	columns := 0
	for line := range strings.Lines(text) {
		n := strings.Count(line, "|")
		if n > 0 && columns > 0 && n != columns {
			t.Errorf("columns: %s", line)
		}
		columns = n
	}
}

func TestCharts(t *testing.T) {
	for name, picture := range map[string][]byte{"bars": bars(made(3)), "curves": curves(made(3)), "nothing": bars(nil), "no curves": curves(nil)} {
		if strings.Contains(string(picture), "NaN") || strings.Contains(string(picture), "Inf") {
			t.Errorf("%s: not a number in %s", name, picture)
		}
		d := xml.NewDecoder(strings.NewReader(string(picture)))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
	}
}

func TestBaseline(t *testing.T) {
	got := baselineOf(checkPlan(), made(7))
	if got.Figures["check/ack/cpu"] != 1 || got.Figures["check/idle/residentCollected"] != 7 {
		t.Errorf("got %v", got)
	}
}

func TestJudge(t *testing.T) {
	steady := []float64{10, 10.1, 9.9, 10, 10.2}
	cases := map[string]struct {
		floor, server []float64
		committed     float64
		want          judgement
	}{
		"the same":                       {steady, []float64{15, 15, 15, 15, 15}, 1.5, fine},
		"better":                         {steady, []float64{12, 12, 12, 12, 12}, 1.5, fine},
		"a little worse":                 {steady, []float64{17, 17, 17, 17, 17}, 1.5, fine},
		"worse":                          {steady, []float64{18, 18, 18, 18, 18}, 1.5, worse},
		"outliers":                       {steady, []float64{40, 15, 15, 15, 40}, 1.5, fine},
		"the floor has an outlier":       {[]float64{10, 10, 30, 10, 10}, []float64{18, 18, 18, 18, 18}, 1.5, worse},
		"slow at times, both":            {[]float64{10, 20, 10, 20, 10}, []float64{15, 30, 15, 30, 15}, 1.5, fine},
		"noise, as if worse":             {[]float64{10, 16, 10, 16, 10}, []float64{18, 20, 19, 21, 18}, 1.5, unclear},
		"much worse in spite of noise":   {[]float64{10, 16, 10, 16, 10}, []float64{40, 60, 40, 60, 40}, 1.5, worse},
		"a figure that is not committed": {steady, steady, 0, unknown},
		"too few runs":                   {steady[:2], []float64{18, 18}, 1.5, unclear},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			of := map[target]figures{floor: {"cpu": c.floor}, myriad: {"cpu": c.server}}
			s, ok := sampleOf(task{targets: []target{floor, myriad}}, cpu, of)
			if got := s.judge(c.committed, tolerance); !ok || got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if _, ok := sampleOf(task{targets: []target{floor, myriad}}, cpu, map[target]figures{myriad: {"cpu": steady}}); ok {
		t.Error("a figure without the floor's")
	}
}

func TestVerdicts(t *testing.T) {
	plan := checkPlan()
	same := baselineOf(plan, made(7))
	if err := verdicts(plan, made(7), same, tolerance); err != nil {
		t.Error(err)
	}
	better := baseline{Figures: make(map[string]float64)}
	for name, v := range same.Figures {
		better.Figures[name] = v / 1.2
	}
	if err := verdicts(plan, made(7), better, tolerance); err != nil {
		t.Errorf("one run of each is not enough: %v", err)
	}
	if err := verdicts(plan, made(7, 7, 7), better, tolerance); err == nil {
		t.Error("20 % worse than committed, and no error")
	}
	if err := verdicts(plan, made(7, 7, 7), better, better.tolerance("another machine")); err != nil {
		t.Errorf("on another machine: %v", err)
	}
	if err := verdicts(plan, make(results), same, tolerance); err == nil {
		t.Error("nothing was measured, and no error")
	}
}

// TestResume interrupts a run and lets the next one go on.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"server", "floor", "load", "node/server.js", "node/package-lock.json"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	begin := func(fresh bool) *bench {
		b := &bench{root: dir, dir: dir, bin: dir, kept: kept{Results: make(results)}}
		if err := b.resume(fresh); err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := begin(false)
	first.kept.Results = made(5)
	if err := first.keep(); err != nil {
		t.Fatal(err)
	}
	if got := len(begin(false).kept.Results); got != len(first.kept.Results) {
		t.Errorf("%d of %d tasks are left after an interruption", got, len(first.kept.Results))
	}
	if got := len(begin(true).kept.Results); got != 0 {
		t.Errorf("%d tasks are left although all should be measured again", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "server"), []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := len(begin(false).kept.Results); got != 0 {
		t.Errorf("%d tasks are left although the server is another", got)
	}
	if err := first.done(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server"), []byte("server"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := len(begin(false).kept.Results); got != 0 {
		t.Errorf("%d tasks are left after the end", got)
	}
}

func TestSharesOf(t *testing.T) {
	const traces = `File: server
Duration: 8s, Total samples = 900ms
-----------+-----
     500ms   internal/runtime/syscall/linux.Syscall6
             syscall.RawSyscall6
             github.com/myriad-rt/myriad/transport/epoll.rawWrite
             github.com/myriad-rt/myriad/engineio.(*heartbeat).Expire
-----------+-----
     0.30s   runtime.mapaccess1 (inline)
             github.com/myriad-rt/myriad/socketio.(*Socket).run
-----------+-----
     200ms   runtime.mstart
-----------+-----
`
	shares, err := sharesOf([]byte(traces))
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, len(parts)+1)
	want[0], want[partOf("github.com/myriad-rt/myriad/socketio.")], want[otherPart] = 0.5, 0.3, 0.2
	for i := range want {
		if math.Abs(shares[i]-want[i]) > 1e-9 {
			t.Errorf("got %v, want %v", shares, want)
			break
		}
	}
	if _, err := sharesOf([]byte("Total samples = 0\n")); err == nil {
		t.Error("an empty profile is no error")
	}
}
