//go:build linux

package proc

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine describes the machine in a line.
func Machine() (string, error) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	_, model, _ := bytes.Cut(info, []byte("model name"))
	model, _, _ = bytes.Cut(model, []byte("\n"))
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "", err
	}
	var kb int
	if _, err := fmt.Sscanf(string(memory), "MemTotal: %d kB", &kb); err != nil {
		return "", fmt.Errorf("/proc/meminfo: %w", err)
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %d cores, %d GB; Linux %s", strings.TrimLeft(string(model), "\t :"), runtime.NumCPU(),
		int(math.Round(float64(kb)/(1<<20))), bytes.TrimSpace(kernel)), nil
}

// Load returns the load average of the last minute.
func Load() (float64, error) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	load, _, _ := strings.Cut(string(b), " ")
	return strconv.ParseFloat(load, 64)
}
