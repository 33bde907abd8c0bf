//go:build linux

// Package proc reads the resource usage of processes.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Resident returns the resident memory of a process in bytes. It is the sum over all mappings: VmRSS may be off by some
// hundred kilobytes per thread.
func Resident(pid int) (int64, error) { return kilobytes(pid, "smaps_rollup", "\nRss:") }

// kilobytes returns the value of a field in a file about the process, converted from kilobytes to bytes.
func kilobytes(pid int, file, name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	_, b, _ = bytes.Cut(b, []byte(name))
	fields := bytes.Fields(b)
	if len(fields) == 0 {
		return 0, fmt.Errorf("proc: no %q in %s of %d", name, file, pid)
	}
	kb, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return kb << 10, err
}

// CPU returns the user and system time of a process. Unlike /proc/PID/stat, which counts in hundredths of a second, its
// clock is exact.
func CPU(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED in the kernel
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(t.Nano()), nil
}

// ResetPeak sets the peak of a process to its current resident memory.
func ResetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// Peak returns the largest resident memory since the process started or ResetPeak was called, in bytes. It may be off by a
// few hundred kilobytes per thread.
func Peak(pid int) (int64, error) { return kilobytes(pid, "status", "\nVmHWM:") }

// OwnCPU returns the user and system time of this process.
func OwnCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
