//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/proc"
)

const (
	profileLoad  = 12 * time.Second
	profileAfter = 3 * time.Second // the time for connecting
	profileTime  = 8 * time.Second
)

// part is a part of a server's work: everything called by functions with these prefixes.
type part struct {
	title    string
	prefixes []string
}

const (
	epollPackage = "github.com/myriad-rt/myriad/transport/epoll."
	ourPackages  = "github.com/myriad-rt/myriad/"
)

// parts are looked for in each stack, from the function that was running on to its callers; the first that fits counts.
var parts = []part{
	{"write to a socket", []string{epollPackage + "rawWrite", "syscall.Write", "syscall.write"}},
	{"read from a socket", []string{epollPackage + "rawRead", "syscall.Read", "syscall.read"}},
	{"poll and wait for events", []string{epollPackage + "rawPoll", "syscall.EpollWait", "runtime.netpoll", "runtime.findRunnable", "runtime.futex"}},
	{"memory: allocate and collect", []string{"runtime.mallocgc", "runtime.newobject", "runtime.gc", "runtime.bgsweep", "runtime.bgscavenge"}},
	{"frames and event loops", []string{epollPackage}},
	{"heartbeat, sessions", []string{ourPackages + "internal/wheel.", ourPackages + "engineio"}},
	{"packets, namespaces, rooms, handlers", []string{ourPackages, "main.(*server)"}},
	{"the floor's own code", []string{"main."}},
}

// otherPart is the index for everything that belongs to no part.
var otherPart = len(parts)

// profilePlan returns the tasks to profile: those that miss their goal, and an event for comparison.
func profilePlan() []task {
	wanted := map[string]string{
		"ack/1000/32": "an acknowledged event, 1,000 clients", "cores/2": "an acknowledged event, 1,000 clients, server on two cores",
		"heartbeat/10000": "a ping and its pong, 10,000 clients",
		"broadcast/1000":  "a delivery of a broadcast, 1,000 in the room", "broadcast/stalled": "a delivery of a broadcast, 1,000 in the room, of which 10 never read",
	}
	var plan []task
	for _, t := range fullPlan() {
		if title, ok := wanted[t.name]; ok {
			t.rows = []row{{cpu, title}}
			t.targets = []target{floor, myriad}
			t.duration = profileLoad
			plan = append(plan, t)
		}
	}
	return plan
}

// profile writes PROFILES.md.
func profile(b *bench) error {
	var err error
	if b.kept.Load, err = proc.Load(); err != nil {
		return err
	}
	machine, err := describe(b)
	if err != nil {
		return err
	}
	var s bytes.Buffer
	s.WriteString("# Where the time goes\n\n" +
		"Written by `go run ./bench/cmd -mode profile`: the server's CPU per operation, in µs, by activity, " +
		"sampled 100 times per second of CPU. System calls include the kernel's work: on loopback, a write goes through TCP to the receiver's socket " +
		"and wakes its reader.\n\n")
	s.WriteString(machine + "\n")
	for _, t := range profilePlan() {
		if !b.only.MatchString(t.name) {
			continue
		}
		var cost [2][]float64
		var total [2]float64
		for i, on := range t.targets {
			if cost[i], total[i], err = b.profileOnce(t, on); err != nil {
				return err
			}
		}
		fmt.Fprintf(&s, "## CPU of %s\n\n| | floor | Myriad |\n|---|--:|--:|\n", t.rows[0].title)
		for i := range parts {
			if cost[0][i] > 0 || cost[1][i] > 0 {
				fmt.Fprintf(&s, "| %s | %s | %s |\n", parts[i].title, number(cost[0][i]), number(cost[1][i]))
			}
		}
		fmt.Fprintf(&s, "| other | %s | %s |\n| **all** | %s | %s |\n\n", number(cost[0][otherPart]), number(cost[1][otherPart]), number(total[0]), number(total[1]))
	}
	if b.only.String() != "" {
		_, err = os.Stdout.Write(s.Bytes())
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, "PROFILES.md"), bytes.TrimSuffix(s.Bytes(), []byte("\n")), 0o644)
}

// profileOnce returns the cost of an operation, by part and in total, in µs.
func (b *bench) profileOnce(t task, on target) (cost []float64, total float64, err error) {
	s, err := b.startServer(t, on)
	if err != nil {
		return nil, 0, err
	}
	program := filepath.Base(s.cmd.Args[3])
	file := filepath.Join(b.bin, "profile")
	fetched := make(chan error, 1)
	go func() {
		time.Sleep(profileAfter)
		fetched <- fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.debug, profileTime/time.Second), file)
	}()
	record, err := b.load(t, s)
	err = errors.Join(err, <-fetched)
	if stopErr := s.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return nil, 0, errors.Join(err, s.said())
	}
	out, err := exec.CommandContext(b.ctx, "go", "tool", "pprof", "-traces", filepath.Join(b.bin, program), file).Output()
	if err != nil {
		return nil, 0, fmt.Errorf("go tool pprof: %w", err)
	}
	total, _ = record[cpu.field].(float64)
	shares, err := sharesOf(out)
	for _, share := range shares {
		cost = append(cost, share*total)
	}
	return cost, total, err
}

func fetch(url, file string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, r.Status)
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// sharesOf returns the share of each part, and of everything else, from the output of go tool pprof -traces: stacks, starting
// with the running function, which follows its time.
func sharesOf(traces []byte) ([]float64, error) {
	shares := make([]float64, len(parts)+1)
	var sum, value time.Duration
	at := otherPart
	end := func() {
		shares[at] += float64(value)
		sum += value
		value, at = 0, otherPart
	}
	lines := bufio.NewScanner(bytes.NewReader(traces))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if strings.HasPrefix(fields[0], "---") {
			end()
			continue
		}
		if v, err := time.ParseDuration(fields[0]); err == nil && len(fields) > 1 {
			value, fields = v, fields[1:]
		}
		if value > 0 && at == otherPart {
			at = partOf(fields[0])
		}
	}
	end()
	if sum == 0 {
		return nil, errors.New("the profile is empty")
	}
	for i := range shares {
		shares[i] /= float64(sum)
	}
	return shares, lines.Err()
}

// partOf returns the index of the part that a function belongs to.
func partOf(function string) int {
	for i, p := range parts {
		for _, prefix := range p.prefixes {
			if strings.HasPrefix(function, prefix) {
				return i
			}
		}
	}
	return otherPart
}
