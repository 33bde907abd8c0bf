//go:build linux

package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/proc"
)

// report is the result of a run, in addition to the printed lines.
type report struct {
	kernel    int64 // bytes allocated by the kernel before the first client
	used      usage // as printed last
	held      usage // after the heartbeats
	most      int64 // resident bytes of all servers, the most that was printed
	answered  int   // pings, by all clients in the time of the heartbeats
	delivered int
}

// usage is the resource usage of the servers and the kernel.
type usage struct {
	resident int64 // bytes
	grown    int64 // bytes of resident since before the first client
	heap     int64 // bytes in use of Go's heap
	kernel   int64 // bytes allocated by the kernel, mostly for sockets of both ends
	cpu      time.Duration
}

func (f *fleet) usage() (u usage, err error) {
	for _, s := range f.servers {
		resident, err := proc.Resident(s.cmd.Process.Pid)
		if err != nil {
			return usage{}, err
		}
		cpu, err := proc.CPU(s.cmd.Process.Pid)
		if err != nil {
			return usage{}, err
		}
		now, err := s.stats()
		if err != nil {
			return usage{}, err
		}
		u.resident += resident
		u.grown += resident - s.base
		u.heap += now.HeapInuse
		u.cpu += cpu
	}
	u.kernel, err = slab()
	return u, err
}

// slab returns the bytes that the kernel has allocated for its own objects.
func slab() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, b, _ = bytes.Cut(b, []byte("\nSlab:"))
	fields := bytes.Fields(b)
	if len(fields) == 0 {
		return 0, fmt.Errorf("no Slab in /proc/meminfo")
	}
	kb, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return kb << 10, err
}

func (f *fleet) printHead() (err error) {
	fmt.Fprintf(f.out, "%d connections, %d server processes, %d worker processes\n", f.n, len(f.servers), len(f.workers))
	fmt.Fprintf(f.out, "%-20s %11s %8s %8s %8s %10s %9s %8s %8s\n%-20s %11s %8s %8s %8s %10s %9s %8s %8s\n",
		"", "", "resident", "bytes", "Go heap", "kernel MB,", "pings", "server", "",
		"", "connections", "MB", "each", "MB", "both ends", "answered", "CPU s", "time s")
	f.kernel, err = slab()
	return err
}

// print prints the usage of the servers.
func (f *fleet) print(what string, connections int) error {
	u, err := f.usage()
	if err != nil {
		return err
	}
	now, err := f.status()
	if err != nil {
		return err
	}
	f.used, f.most = u, max(f.most, u.resident)
	_, err = fmt.Fprintf(f.out, "%-20s %11d %8.1f %8.0f %8.1f %10.1f %9d %8.1f %8.1f\n", what, connections, mega(u.resident),
		float64(u.grown)/float64(connections), mega(u.heap), mega(u.kernel-f.kernel), now.pings, u.cpu.Seconds(),
		time.Since(f.began).Seconds())
	return err
}

// printClosed prints the number of closed sessions for each reason, which explains why a run has failed.
func (f *fleet) printClosed() error {
	for _, s := range f.servers {
		now, err := s.stats()
		if err != nil {
			return err
		}
		fmt.Fprintf(f.out, "%s has closed%s\n", s.name, closures(now.Closed))
	}
	return nil
}

// closures returns the counts that are not 0, in the order of the reasons.
func closures(closed map[string]uint64) (list string) {
	for _, reason := range slices.Sorted(maps.Keys(closed)) {
		if n := closed[reason]; n > 0 {
			list += fmt.Sprintf(", %d for %q", n, reason)
		}
	}
	if list == "" {
		return " no session"
	}
	return " sessions: " + list[2:]
}

func mega(n int64) float64 { return float64(n) / 1e6 }

// Goals for a million connections: goalBytes for each, a gigabyte in total.
const (
	million   = 1_000_000
	goalBytes = 1000
)

// printGoals prints the goals and the results. With few connections there is no goal for the total, because the program
// without connections takes too large a part of it.
func (f *fleet) printGoals() error {
	type row struct {
		what, goal, is string
		met            bool
	}
	each := float64(f.held.grown) / float64(f.n)
	rows := []row{
		{"connections held", strconv.Itoa(f.n), strconv.Itoa(f.n), true},
		{"pings answered while they were", "≥ " + strconv.Itoa(heartbeats*f.n), strconv.Itoa(f.answered), f.answered >= heartbeats*f.n},
		{"deliveries of the broadcast", strconv.Itoa(f.n), strconv.Itoa(f.delivered), f.delivered == f.n},
		{"resident bytes each", "≤ " + strconv.Itoa(goalBytes), fmt.Sprintf("%.0f", each), each <= goalBytes},
	}
	if f.n >= million {
		goal := int64(f.n) * goalBytes
		rows = append(rows, row{"resident MB in all, at most", fmt.Sprintf("≤ %.0f", mega(goal)), fmt.Sprintf("%.0f", mega(f.most)), f.most <= goal})
	}
	fmt.Fprintf(f.out, "\n%-32s %12s %12s\n", "", "goal", "reached")
	for _, r := range rows {
		met := "yes"
		if !r.met {
			met = "no"
		}
		if _, err := fmt.Fprintf(f.out, "%-32s %12s %12s  %s\n", r.what, r.goal, r.is, met); err != nil {
			return err
		}
	}
	return nil
}
