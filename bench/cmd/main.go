//go:build linux

// Command cmd runs the benchmarks: it builds the servers and the load generator, pins the server under load to the first
// core and the generator to the second, repeats each run, takes medians and compares. The README.md of the parent
// directory describes the measurements.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// flags are the command line.
type flags struct {
	mode     string
	repeats  int
	duration time.Duration
	only     string
	binaries string
	fresh    bool
	limit    time.Duration
}

func main() {
	log.SetFlags(0)
	f := new(flags)
	flag.StringVar(&f.mode, "mode", "full", `"full" measures everything and writes RESULTS.md, the charts and baseline.json; `+
		`"check" compares the most important figures with baseline.json, "baseline" only writes it; "quick" prints the figures of an idle connection, an event and a handshake; "profile" writes PROFILES.md`)
	flag.IntVar(&f.repeats, "repeats", 0, "number of times that everything is measured; zero is 3, in the modes check and baseline 5")
	flag.DurationVar(&f.duration, "duration", 0, "time that is measured in each run; zero is 1.5s in mode full, 1s in mode quick, and 500ms in the others")
	flag.DurationVar(&f.limit, "limit", 0, "time after which nothing is measured again that was measured once; zero is 20m in mode full, 80s in the modes check and baseline, none in mode quick")
	flag.BoolVar(&f.fresh, "fresh", false, "in mode full, measure everything, also what an earlier attempt that did not come to its end has measured")
	flag.StringVar(&f.only, "only", "", "regular expression for the names of the runs; in the modes full and profile no file is written then")
	flag.StringVar(&f.binaries, "binaries", "", "directory for what is built; empty is a temporary one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, f); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, f *flags) error {
	b, err := newBench(ctx, f)
	if err != nil {
		return err
	}
	defer b.close()
	switch f.mode {
	case "full":
		return full(b, f)
	case "check":
		return check(b)
	case "baseline":
		return writeBaseline(b)
	case "quick":
		return quick(b)
	case "profile":
		return profile(b)
	}
	return fmt.Errorf("unknown mode %q", f.mode)
}

// bench is a set of programs, ready to run.
type bench struct {
	ctx      context.Context
	root     string // of the module
	dir      string // of the benchmarks' sources
	bin      string // of the programs
	temp     bool   // bin is removed in the end
	only     *regexp.Regexp
	repeats  int
	duration time.Duration
	warm     time.Duration
	began    time.Time
	limit    time.Duration // zero is none
	keeping  bool          // kept is written to a file
	kept     kept
}

// newBench builds the programs.
func newBench(ctx context.Context, f *flags) (*bench, error) {
	only, err := regexp.Compile(f.only)
	if err != nil {
		return nil, err
	}
	b := &bench{
		ctx: ctx, bin: f.binaries, only: only, repeats: f.repeats, duration: f.duration, limit: f.limit,
		began: time.Now(), kept: kept{Results: make(results)},
	}
	b.setDefaults(f.mode)
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("looking for the module: %w", err)
	}
	b.root = strings.TrimSpace(string(root))
	b.dir = filepath.Join(b.root, "bench")
	if b.bin == "" {
		if b.bin, err = os.MkdirTemp("", "myriad-bench-"); err != nil {
			return nil, err
		}
		b.temp = true
	}
	// Without the version of the sources, so that the programs change only if they do something else.
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", b.bin+"/", "./server", "./floor", "./load")
	build.Dir = b.dir
	if out, err := build.CombinedOutput(); err != nil {
		b.close()
		return nil, fmt.Errorf("building: %w\n%s", err, out)
	}
	if f.mode == "full" && f.only == "" {
		if err := b.resume(f.fresh); err != nil {
			b.close()
			return nil, err
		}
	}
	return b, nil
}

// setDefaults sets defaults for flags that were not given.
func (b *bench) setDefaults(mode string) {
	repeats, duration, limit := 3, time.Second, time.Duration(0)
	b.warm = 500 * time.Millisecond
	switch mode {
	case "full":
		duration, limit = 1500*time.Millisecond, 20*time.Minute
	case "check", "baseline":
		repeats, duration, limit = checkRepeats, checkDuration, checkLimit
		b.warm = checkWarm
	}
	b.repeats, b.duration, b.limit = cmp.Or(b.repeats, repeats), cmp.Or(b.duration, duration), cmp.Or(b.limit, limit)
}

func (b *bench) close() {
	if b.temp {
		_ = os.RemoveAll(b.bin) // a temporary directory
	}
}

// needNode installs the packages of the Node.js server.
func (b *bench) needNode() error {
	dir := filepath.Join(b.dir, "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "socket.io")); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	install := exec.CommandContext(b.ctx, "npm", "ci", "--silent")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
}
