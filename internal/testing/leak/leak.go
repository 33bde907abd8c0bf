// Package leak fails a package's tests that leave goroutines or descriptors behind.
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

// patience is how long what ends by itself may take to do so on a busy machine.
const patience = 30 * time.Second

// Main runs the tests of m and exits. It is to be called from TestMain.
func Main(m *testing.M) {
	// The runtime's own poller comes with the first socket and stays.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	descriptors := openDescriptors()
	code := m.Run()
	// A fuzzing process keeps goroutines of its own.
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

// openDescriptors returns the number of descriptors of sockets, epoll and eventfd that the process holds, or 0
// where that cannot be found out.
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
