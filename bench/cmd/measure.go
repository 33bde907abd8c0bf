//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// figures are the results of one task on one server: the value of each run, by metric.
type figures map[string][]float64

// runs returns how many runs of t there were.
func (f figures) runs(t task) int { return len(f[t.rows[0].field]) }

// value returns the median of a metric's runs.
func (f figures) value(m metric) (float64, bool) {
	runs := f[m.field]
	return medianOf(runs), len(runs) > 0
}

// medianOf returns the median of runs, or 0 if there are none.
func medianOf(runs []float64) float64 {
	sorted := slices.Sorted(slices.Values(runs))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 0:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[n/2]
}

// results are figures by task and target.
type results map[string]map[target]figures

func (r results) value(task string, t target, m metric) (float64, bool) { return r[task][t].value(m) }

// ratio returns how many times the figure of a the one of b is.
func (r results) ratio(task string, a, b target, m metric) (float64, bool) {
	x, ok := r.value(task, a, m)
	y, ok2 := r.value(task, b, m)
	return x / y, ok && ok2 && y != 0
}

// measure runs the plan. It measures all servers in turn, so that changes of the machine affect all of them. Runs that fail
// are missing in the results, which are returned together with an error that joins all failures.
func (b *bench) measure(plan []task) (results, error) {
	var failures []error
	r := b.kept.Results
	last := make(map[string]time.Duration) // how long each task took last
	for i := range b.repeats {
		for _, t := range plan {
			if !b.only.MatchString(t.name) || t.repeats > 0 && i >= t.repeats {
				continue
			}
			if !slices.ContainsFunc(t.targets, func(on target) bool { return r[t.name][on].runs(t) <= i }) {
				continue // in an earlier attempt
			}
			if i > 0 && b.limit > 0 && time.Since(b.began)+last[t.name] > b.limit {
				log.Printf("%d/%d %-22s left out: there is no time for it", i+1, b.repeats, t.name)
				continue
			}
			if r[t.name] == nil {
				r[t.name] = make(map[target]figures)
			}
			start := time.Now()
			for _, on := range t.targets {
				if r[t.name][on] == nil {
					r[t.name][on] = make(figures)
				}
				if r[t.name][on].runs(t) > i {
					continue
				}
				if err := b.runOnce(t, on, r[t.name][on]); err != nil {
					if b.ctx.Err() != nil {
						return nil, context.Cause(b.ctx)
					}
					err = fmt.Errorf("%s on %s: %w", t.name, on, err)
					log.Print(err)
					failures = append(failures, err)
				}
			}
			last[t.name] = time.Since(start)
			log.Printf("%d/%d %-22s %s", i+1, b.repeats, t.name, summary(t, r[t.name]))
			if err := b.keep(); err != nil {
				return nil, err
			}
		}
	}
	return r, errors.Join(failures...)
}

// summary returns the values of the last run as text.
func summary(t task, of map[target]figures) string {
	var s strings.Builder
	for _, on := range t.targets {
		fmt.Fprintf(&s, " %s", on)
		for _, row := range t.rows {
			if runs := of[on][row.field]; len(runs) > 0 {
				fmt.Fprintf(&s, " %.4g %s", runs[len(runs)-1], row.unit)
			}
		}
		s.WriteString(";")
	}
	return strings.TrimSuffix(s.String(), ";")
}

// runOnce starts a server, puts load on it, and adds the result to f.
func (b *bench) runOnce(t task, on target, f figures) error {
	s, err := b.startServer(t, on)
	if err != nil {
		return err
	}
	record, err := b.load(t, s)
	if stopErr := s.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return errors.Join(err, s.said())
	}
	for _, row := range t.rows {
		v, _ := record[row.field].(float64) // zero values may be omitted
		f[row.field] = append(f[row.field], v)
	}
	return nil
}

// load runs the load generator and returns its record.
func (b *bench) load(t task, s *process) (map[string]any, error) {
	args := []string{
		"-addr", s.addr, "-debug", s.debug, "-pid", strconv.Itoa(s.cmd.Process.Pid),
		"-scenario", t.scenario, "-clients", strconv.Itoa(t.clients),
		"-duration", cmp.Or(t.duration, b.duration).String(), "-warm", b.warm.String(),
	}
	if t.payload > 0 {
		args = append(args, "-payload", strconv.Itoa(t.payload))
	}
	cmd := pinned(b, loadCores(), filepath.Join(b.bin, "load"), append(args, t.load...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("load: %w\n%s", err, said.Bytes())
	}
	record := make(map[string]any)
	return record, json.Unmarshal(out.Bytes(), &record)
}

// serverCores and loadCores are lists of cores in the format of taskset.

func serverCores(procs int) string {
	if procs > 1 {
		return fmt.Sprintf("0-%d", min(procs, runtime.NumCPU())-1)
	}
	return "0"
}

func loadCores() string { return strconv.Itoa(min(1, runtime.NumCPU()-1)) }

func pinned(b *bench, cores, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(b.ctx, "taskset", append([]string{"-c", cores, program}, args...)...)
}

// process is a running server.
type process struct {
	cmd         *exec.Cmd
	addr, debug string
	errors      bytes.Buffer
	ended       chan error
}

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 15 * time.Second
)

// startServer starts a server and waits until it listens.
func (b *bench) startServer(t task, on target) (*process, error) {
	ping := t.pingInterval
	if ping == 0 {
		ping = 25 * time.Second
	}
	var program string
	var args []string
	switch on {
	case floor:
		program = filepath.Join(b.bin, "floor")
		args = []string{"-addr", "127.0.0.1:0", "-debug", "127.0.0.1:0", "-ping-interval", t.pingInterval.String(), "-loops", strconv.Itoa(max(t.procs, 1))}
	case node:
		if err := b.needNode(); err != nil {
			return nil, err
		}
		program = "node"
		args = []string{
			"--expose-gc", filepath.Join(b.dir, "node", "server.js"), "--addr", "127.0.0.1:0", "--debug", "127.0.0.1:0",
			"--ping-interval", strconv.FormatInt(ping.Milliseconds(), 10),
		}
		if t.recovery {
			args = append(args, "--recovery")
		}
		if t.msgpack {
			args = append(args, "--parser", "msgpack")
		}
		if t.deflate {
			args = append(args, "--deflate")
		}
	default:
		program = filepath.Join(b.bin, "server")
		args = []string{"-addr", "127.0.0.1:0", "-debug", "127.0.0.1:0", "-ping-interval", ping.String()}
		if on == own {
			args = append(args, "-own-listener")
		}
		if t.recovery {
			args = append(args, "-recovery")
		}
		if t.msgpack {
			args = append(args, "-parser", "msgpack")
		}
		if t.deflate {
			args = append(args, "-deflate")
		}
	}
	p := &process{cmd: pinned(b, serverCores(t.procs), program, args...), ended: make(chan error, 1)}
	p.cmd.Stderr = &p.errors
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopTimeout
	return p, p.start()
}

// start starts the program and reads where it listens.
func (p *process) start() error {
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	listening := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if addr, ok := strings.CutPrefix(lines.Text(), "debugging on "); ok {
				p.debug = addr
			}
			if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
				p.addr = addr
				close(listening)
			}
		}
		p.ended <- p.cmd.Wait()
	}()
	select {
	case <-listening:
		return nil
	case err := <-p.ended:
		return fmt.Errorf("the server has ended: %w\n%s", err, p.errors.Bytes())
	case <-time.After(startTimeout):
		return errors.Join(errors.New("the server does not listen"), p.stop())
	}
}

// stop stops the server. It returns an error if the server has exited before or does not exit.
func (p *process) stop() error {
	select {
	case err := <-p.ended:
		return fmt.Errorf("the server has ended: %w", err)
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-p.ended:
		return err
	case <-time.After(stopTimeout):
		return errors.Join(errors.New("the server does not stop"), p.cmd.Process.Signal(os.Kill))
	}
}

// said returns the end of the server's standard error as an error, or nil if there is none.
func (p *process) said() error {
	const most = 4 << 10
	b := p.errors.Bytes()
	if len(b) == 0 {
		return nil
	}
	return fmt.Errorf("the server said:\n%s", b[max(0, len(b)-most):])
}
