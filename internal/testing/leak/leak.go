// Package leak fails the tests of a package that leaks goroutines or descriptors.
package leak

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// patience bounds the wait for goroutines and descriptors to end on a busy machine.
const patience = 30 * time.Second

// Main runs the tests of m and exits. It must be called from TestMain.
func Main(m *testing.M) {
	// The runtime's own poller is created with the first socket and stays.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	descriptors := openDescriptors()
	code := m.Run()
	// A fuzzing process has its own goroutines.
	if code == 0 && flag.Lookup("test.fuzz").Value.String() == "" {
		code = check(descriptors)
	}
	os.Exit(code)
}

func check(descriptors int) int {
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > 1 || openDescriptors() > descriptors {
		if time.Now().After(deadline) {
			fmt.Printf("left behind: %d goroutines, %d descriptors\n",
				runtime.NumGoroutine()-1, openDescriptors()-descriptors)
			_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
			return 1
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0
}

// openDescriptors returns the number of open socket, epoll and eventfd descriptors of the process, or 0 if the
// system does not report them.
func openDescriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	n := 0
	for _, entry := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + entry.Name())
		if strings.HasPrefix(target, "socket:") || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}
