package soak

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
)

// gauges are figures that must return to where they began, by name.
type gauges map[string]int

// above returns a complaint about each figure that exceeds the one in base by more than the one in slack.
func (g gauges) above(base, slack gauges) (over []string) {
	for _, name := range slices.Sorted(maps.Keys(g)) {
		if g[name] > base[name]+slack[name] {
			over = append(over, fmt.Sprintf("%s: %d, were %d", name, g[name], base[name]))
		}
	}
	return over
}

// Names of gauges of the process.
const (
	descriptorsGauge = "descriptors"
	goroutinesGauge  = "goroutines"
	heapGauge        = "bytes of heap"
)

// descriptors returns the number of sockets, epoll and eventfd descriptors of the process, or 0 on other systems than
// Linux.
func descriptors() (n int) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + entry.Name())
		if strings.HasPrefix(target, "socket:") || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}

// heap collects garbage and returns the number of bytes in use.
func heap() int {
	// Objects in a sync.Pool survive one collection.
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// tally counts actions by name.
type tally map[string]int

// missing returns the names in want that were never counted.
func (t tally) missing(want []string) (never []string) {
	for _, name := range want {
		if t[name] == 0 {
			never = append(never, name)
		}
	}
	return never
}
