package soak

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestLedger(t *testing.T) {
	type call struct {
		what string // s: sent, h: handled, a: acknowledged, l: left in order, d: disconnected, p: for a ping time-out
		n    int
	}
	for _, test := range []struct {
		name    string
		calls   []call
		handled string // the error of a handler contains this
		settled string // the result of settle contains this
	}{
		{"in order", []call{{"s", 1}, {"s", 2}, {"h", 1}, {"h", 2}, {"a", 2}, {"l", 0}, {"d", 0}}, "", ""},
		{"handled twice", []call{{"s", 1}, {"s", 2}, {"h", 1}, {"h", 1}}, "event 1 of client k is handled after event 1", ""},
		{"skipped", []call{{"s", 1}, {"s", 2}, {"h", 2}}, "event 2 of client k is handled after event 0", ""},
		{"out of order", []call{{"s", 1}, {"s", 2}, {"h", 2}, {"h", 1}}, "event 2 of client k is handled after event 0", ""},
		{"after the end", []call{{"s", 1}, {"d", 0}, {"h", 1}}, "after the handlers for its disconnection", ""},
		{"acknowledged, but not handled", []call{{"s", 1}, {"a", 1}}, "", "event 1 of client k was acknowledged, but the last one handled is 0"},
		{"left in order, not all handled", []call{{"s", 1}, {"s", 2}, {"h", 1}, {"l", 0}, {"d", 0}}, "", "sent 2 events and left in order, but only 1 were handled (transport close)"},
		{"left too late, not all handled", []call{{"s", 1}, {"l", 0}, {"p", 0}}, "", ""},
		{"cut off, not all handled", []call{{"s", 1}, {"s", 2}, {"h", 1}, {"d", 0}}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var l ledger
			first := ""
			for _, c := range test.calls {
				switch c.what {
				case "s":
					if n := l.send("k"); n != c.n {
						t.Errorf("send returns %d, not %d", n, c.n)
					}
				case "h":
					if err := l.handle("k", c.n); err != nil && first == "" {
						first = err.Error()
					}
				case "a":
					l.acknowledge("k", c.n)
				case "l":
					l.leave("k")
				case "p":
					l.disconnect("k", "ping timeout")
				case "d":
					l.disconnect("k", "transport close")
				}
			}
			expectText(t, "handle", first, test.handled)
			expectText(t, "settle", strings.Join(l.settle("ping timeout"), "; "), test.settled)
			expectText(t, "settle, again", strings.Join(l.settle("ping timeout"), "; "), "")
		})
	}
}

// expectText checks that got contains want, or is empty if want is.
func expectText(t *testing.T, what, got, want string) {
	t.Helper()
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("%s says %q, not %q", what, got, want)
	}
}

func TestLedgerKeepsClientsApart(t *testing.T) {
	var l ledger
	l.send("a")
	l.send("b")
	for _, key := range []string{"b", "a"} {
		if err := l.handle(key, 1); err != nil {
			t.Error(err)
		}
	}
	if l.total != 2 {
		t.Errorf("%d events were handled, not 2", l.total)
	}
}

func TestSequence(t *testing.T) {
	for _, test := range []struct {
		numbers []int
		wrong   string
	}{
		{[]int{7, 8, 9}, ""},
		{[]int{0, 1}, ""},
		{[]int{7, 9}, "broadcast 9 comes after 7"},
		{[]int{7, 7}, "broadcast 7 comes after 7"},
		{[]int{7, 6}, "broadcast 6 comes after 7"},
	} {
		var s sequence
		got := ""
		for _, n := range test.numbers {
			if err := s.next(n); err != nil {
				got = err.Error()
			}
		}
		expectText(t, "sequence", got, test.wrong)
	}
}

func TestVigil(t *testing.T) {
	var v vigil[string]
	start := time.Now()
	v.watch("x", "client k", start.Add(time.Second))
	lasts := true
	ask := func(after time.Duration) string {
		return strings.Join(v.overdue(start.Add(after), time.Second, func(string) bool { return lasts }), "; ")
	}
	expectText(t, "before it is due", ask(900*time.Millisecond), "")
	expectText(t, "within grace", ask(1900*time.Millisecond), "")
	expectText(t, "after it", ask(2500*time.Millisecond), "x of client k should have ended 1.5s ago")
	expectText(t, "once", ask(2500*time.Millisecond), "")

	v.watch("y", "client k", start)
	lasts = false
	expectText(t, "when it has ended", ask(time.Minute), "")
	lasts = true
	expectText(t, "and is forgotten", ask(time.Minute), "")
}

func TestAttendance(t *testing.T) {
	var a attendance
	now := time.Now()
	leave := a.enter("wait", "k")
	if list := a.present(now.Add(time.Minute)); len(list) != 1 || !strings.Contains(list[0], `handler "wait" of client k has been running for 1m`) {
		t.Errorf("present: %q", list)
	}
	leave()
	var ended sync.WaitGroup
	ended.Go(func() {
		defer a.enter("goexit", "k")()
		runtime.Goexit()
	})
	ended.Wait()
	if list := a.present(now); len(list) > 0 {
		t.Errorf("present after all have left: %q", list)
	}
}

func TestCheckAnswer(t *testing.T) {
	for _, test := range []struct {
		took, control time.Duration
		fails         bool
	}{
		{time.Millisecond, 0, false},
		{2 * time.Second, 0, false},
		{2100 * time.Millisecond, 0, true},
		{3 * time.Second, 50 * time.Millisecond, false},
		{3100 * time.Millisecond, 50 * time.Millisecond, true},
	} {
		if err := checkAnswer("it", test.took, test.control); (err != nil) != test.fails {
			t.Errorf("%v beside %v: %v", test.took, test.control, err)
		}
	}
}

func TestPulse(t *testing.T) {
	var p pulse
	start := time.Now().Add(-time.Minute)
	p.add(beat{start, time.Second})
	p.add(beat{start.Add(10 * time.Second), 3 * time.Millisecond})
	p.add(beat{start.Add(20 * time.Second), 2 * time.Millisecond})
	for _, test := range []struct{ since, want time.Duration }{
		{0, time.Second},
		{900 * time.Millisecond, time.Second}, // it was under way
		{5 * time.Second, 3 * time.Millisecond},
		{15 * time.Second, 2 * time.Millisecond},
		{30 * time.Second, 0},
	} {
		if got := p.worst(start.Add(test.since)); got != test.want {
			t.Errorf("worst since %v is %v, not %v", test.since, got, test.want)
		}
	}
	p.sent = time.Now().Add(-time.Hour) // not returned yet
	if got := p.worst(start.Add(30 * time.Second)); got < time.Hour {
		t.Errorf("worst is %v while a byte has been under way for an hour", got)
	}
}

func TestPulseMeasures(t *testing.T) {
	var p pulse
	ctx, cancel := context.WithCancel(t.Context())
	wait, err := p.start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer wait()
	defer cancel()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		n := len(p.beats)
		p.mu.Unlock()
		if n >= 3 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d beats within %v", n, patience)
		}
	}
}

func TestGauges(t *testing.T) {
	now := gauges{"a": 5, "b": 3, "c": 1, "d": 0}
	got := now.above(gauges{"a": 2, "b": 3, "d": 9}, gauges{"a": 2})
	if want := []string{"a: 5, were 2", "c: 1, were 0"}; !slices.Equal(got, want) {
		t.Errorf("%q is above, not %q", got, want)
	}
}

func TestDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("they are counted on Linux only")
	}
	before := descriptors()
	var p pulse
	if _, err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := descriptors(); got < before+2 {
		t.Errorf("%d descriptors with a connection, %d without", got, before)
	}
}

func TestHeap(t *testing.T) {
	before := heap()
	kept := make([]byte, 32<<20)
	if grown := heap() - before; grown < 31<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	runtime.KeepAlive(kept)
	kept = nil
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("the heap is still larger by %d bytes", grown)
	}
}

func TestTally(t *testing.T) {
	got := tally{"a": 1, "b": 0}.missing([]string{"a", "b", "c"})
	if want := []string{"b", "c"}; !slices.Equal(got, want) {
		t.Errorf("%q is missing, not %q", got, want)
	}
}

func TestAftermath(t *testing.T) {
	before := []time.Duration{250, 100, 120} // the least counts
	for _, test := range []struct {
		name  string
		after []time.Duration
		fails bool
	}{
		{"as before", []time.Duration{90, 100, 110}, false},
		{"a little dearer", []time.Duration{300, 350, 390}, false},
		{"one is dear", []time.Duration{100, 9000, 110}, false},
		{"most are dear", []time.Duration{900, 100, 900}, true},
	} {
		if err := aftermath(test.name, before, test.after); (err != nil) != test.fails {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestCost(t *testing.T) {
	small, large := make([]byte, 16), make([]byte, 64<<10)
	if c, d := cost(func() { clear(small) }), cost(func() { clear(large) }); d < 3*c {
		t.Errorf("clearing %d bytes costs %v, %d bytes %v", len(small), c, len(large), d)
	}
}

func TestSeedRepeats(t *testing.T) {
	for i, kind := range Kinds {
		a, b := newPlan(newRand(7, i), kind, 1, 0), newPlan(newRand(7, i), kind, 1, 0)
		if *a != *b {
			t.Errorf("one seed gives two plans:\n%v\n%v", a, b)
		}
	}
	seen := make(map[uint64]bool)
	for round := range 10 {
		for slot := range 10 {
			for life := range 10 {
				seen[newRand(7, round, slot, life).Uint64()] = true
			}
		}
	}
	if len(seen) != 1000 {
		t.Errorf("1000 clients have %d generators", len(seen))
	}
}

func TestChoose(t *testing.T) {
	got := make(tally)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		got[choose(rng, []string{"a", "bbb", ""}, func(s string) int { return len(s) })]++
	}
	if got[""] > 0 || got["a"] < 150 || got["a"] > 350 {
		t.Errorf("chosen by weights 1, 3 and 0: %v", got)
	}
}

func TestWants(t *testing.T) {
	for _, test := range []struct {
		actions []string
		want    string // of a, b, c
	}{
		{nil, "abc"},
		{[]string{"a", "c"}, "ac"},
		{[]string{"-a"}, "bc"},
		{[]string{"a", "b", "-b"}, "a"},
	} {
		c, got := Config{Actions: test.actions}, ""
		for _, name := range []string{"a", "b", "c"} {
			if c.wants(name) {
				got += name
			}
		}
		if got != test.want {
			t.Errorf("%q wants %q, not %q", test.actions, got, test.want)
		}
	}
}

func TestActionsAreNamedOnce(t *testing.T) {
	names := everything()
	slices.Sort(names)
	if unique := slices.Compact(slices.Clone(names)); len(unique) != len(names) {
		t.Errorf("names are not unique: %q", names)
	}
}

func TestParseSocketPacket(t *testing.T) {
	for _, test := range []struct {
		text string
		want socketPacket
	}{
		{`2["a"]`, socketPacket{kind: '2', namespace: "/", id: -1, data: `["a"]`}},
		{`3/x,12["a"]`, socketPacket{kind: '3', namespace: "/x", id: 12, data: `["a"]`}},
		{`62-/x,3[1]`, socketPacket{kind: '6', attachments: 2, namespace: "/x", id: 3, data: `[1]`}},
		{`1/x,`, socketPacket{kind: '1', namespace: "/x", id: -1}},
	} {
		got, err := parseSocketPacket(test.text)
		if err != nil || got.kind != test.want.kind || got.attachments != test.want.attachments ||
			got.namespace != test.want.namespace || got.id != test.want.id || got.data != test.want.data {
			t.Errorf("%s is parsed as %+v, %v", test.text, got, err)
		}
	}
	for _, text := range []string{"", "5[]", "5x-[]"} {
		if _, err := parseSocketPacket(text); err == nil {
			t.Errorf("%q is parsed without an error", text)
		}
	}
}

// A run reports what it did, and fails if something is missing.
func TestReport(t *testing.T) {
	var failed recorder
	s := &soak{config: Config{For: fullRun, Out: io.Discard}, tb: &failed, done: make(tally)}
	for _, name := range everything() {
		s.count(name, 1)
	}
	s.report(1, time.Second)
	if len(failed.errors) > 0 {
		t.Errorf("everything was done, but: %q", failed.errors)
	}
	delete(s.done, "ghost")
	s.report(1, time.Second)
	if len(failed.errors) != 1 || !strings.Contains(failed.errors[0], "never done: ghost") {
		t.Errorf("there was no ghost, but: %q", failed.errors)
	}
}

// recorder is a test that records errors.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
