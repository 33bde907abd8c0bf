// Package fdlimit exhausts the descriptors of a test.
package fdlimit

import (
	"os"
	"sync"
	"syscall"
	"testing"
)

// Exhaust opens all descriptors still available to the process, until release or the end of the test. No other test
// of the process may run meanwhile.
func Exhaust(t *testing.T) (release func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	probe, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	taken := []*os.File{probe}
	low := old
	low.Cur = uint64(probe.Fd()) + 10
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
		for _, f := range taken {
			f.Close()
		}
	})
	t.Cleanup(release)
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return release
		}
		taken = append(taken, f)
	}
}
