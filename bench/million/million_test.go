//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

func TestShare(t *testing.T) {
	for _, c := range []struct{ n, parts int }{{10, 3}, {1_000_000, 51}, {2, 5}, {7, 1}} {
		sum := 0
		for i := range c.parts {
			got := share(c.n, c.parts, i)
			if low := c.n / c.parts; got < low || got > low+1 {
				t.Errorf("share(%d, %d, %d) = %d", c.n, c.parts, i, got)
			}
			sum += got
		}
		if sum != c.n {
			t.Errorf("shares of %d in %d parts give %d", c.n, c.parts, sum)
		}
	}
}

func TestConnected(t *testing.T) {
	f := &fleet{sizes: []int{10_000, 9_999, 3}}
	if got := f.connected(steps - 1); got != 20_002 {
		t.Errorf("in the end: %d", got)
	}
	sum := 0
	for step := range steps {
		for _, size := range f.sizes {
			sum += share(size, steps, step)
		}
		if got := f.connected(step); got != sum {
			t.Errorf("step %d: %d, connected were %d", step, got, sum)
		}
	}
}

func TestCopySerial(t *testing.T) {
	for _, c := range []struct {
		name, serial, out string
		succeeded         bool
	}{
		{"success", "one\r\ntwo\r\nmillion: done\r\n[ 1.0] reboot: Power down\r\n", "one\ntwo\n", true},
		{"failure", "one\r\nmillion: client 5: closed\r\n[ 1.0] reboot: Power down\r\n",
			"one\nmillion: client 5: closed\n[ 1.0] reboot: Power down\n", false},
		{"silence", "", "", false},
	} {
		var out bytes.Buffer
		succeeded, err := copySerial(&out, strings.NewReader(c.serial))
		if err != nil || succeeded != c.succeeded || out.String() != c.out {
			t.Errorf("%s: %t, %q, %v", c.name, succeeded, out.String(), err)
		}
	}
	if _, err := copySerial(failingWriter{}, strings.NewReader("one\n")); err == nil {
		t.Error("lines that cannot be written: no error")
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestArchive reads the archive as the kernel does.
func TestArchive(t *testing.T) {
	a := new(archive)
	a.add("folder", modeDir|0o755, device{}, nil)
	a.add("folder/odd", modeFile|0o640, device{}, []byte("12345"))
	a.add("console", modeDevice|0o600, device{5, 1}, nil)
	rest := a.bytes()
	for i, want := range []struct {
		name         string
		mode         uint64
		major, minor uint64
		data         string
	}{
		{"folder", 0o040755, 0, 0, ""},
		{"folder/odd", 0o100640, 0, 0, "12345"},
		{"console", 0o020600, 5, 1, ""},
		{"TRAILER!!!", 0, 0, 0, ""},
	} {
		const head = 6 + 13*8
		if len(rest) < head || string(rest[:6]) != "070701" {
			t.Fatalf("entry %d: %.120q", i, rest)
		}
		field := func(n int) uint64 {
			v, err := strconv.ParseUint(string(rest[6+8*n:6+8*(n+1)]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		size, nameSize := int(field(6)), int(field(11))
		name := string(rest[head : head+nameSize-1])
		start := (head + nameSize + 3) &^ 3
		data := string(rest[start : start+size])
		if name != want.name || field(1) != want.mode || field(9) != want.major || field(10) != want.minor || data != want.data {
			t.Errorf("entry %d: %q, mode %o, device %d,%d, data %q", i, name, field(1), field(9), field(10), data)
		}
		rest = rest[(start+size+3)&^3:]
	}
	if len(rest) > 0 {
		t.Errorf("%d bytes behind the end", len(rest))
	}
}

func TestPrintGoals(t *testing.T) {
	for _, c := range []struct {
		name  string
		grown int64
		met   int // of the five goals
	}{{"reached", 900_000_000, 5}, {"too much", 1_100_000_000, 4}} {
		var out bytes.Buffer
		f := &fleet{out: &out, n: 1_000_000}
		f.report = report{held: usage{grown: c.grown}, most: 950_000_000, answered: 2_000_001, delivered: 1_000_000}
		if err := f.printGoals(); err != nil {
			t.Fatal(err)
		}
		if met := strings.Count(out.String(), "  yes\n"); met != c.met {
			t.Errorf("%s: %d met:\n%s", c.name, met, out.String())
		}
	}
}

func TestClosures(t *testing.T) {
	for _, c := range []struct {
		closed map[string]uint64
		want   string
	}{
		{map[string]uint64{"ping timeout": 0}, " no session"},
		{map[string]uint64{"transport close": 3, "ping timeout": 12, "parse error": 0}, ` sessions: 12 for "ping timeout", 3 for "transport close"`},
	} {
		if got := closures(c.closed); got != c.want {
			t.Errorf("%v: %q, want %q", c.closed, got, c.want)
		}
	}
}

func TestFormatTranscript(t *testing.T) {
	const said = "one\ntwo\n"
	for _, c := range []struct {
		name   string
		vm     bool
		err    error
		failed bool
	}{{"success", true, nil, false}, {"failure", false, errors.New("client 5: closed"), true}} {
		got := string(formatTranscript(7, c.vm, []byte(said), c.err))
		if !strings.HasPrefix(got, "# 7 connections\n") || !strings.HasSuffix(got, "\n```text\n"+said+"```\n") {
			t.Errorf("%s: %s", c.name, got)
		}
		if vm := strings.Contains(got, "virtual machine"); vm != c.vm {
			t.Errorf("%s: says that it ran in a virtual machine: %t", c.name, vm)
		}
		if failed := strings.Contains(got, "has failed:** client 5: closed."); failed != c.failed {
			t.Errorf("%s: says that it has failed: %t", c.name, failed)
		}
	}
}
