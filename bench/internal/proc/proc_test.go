//go:build linux

package proc

import (
	"os"
	"strings"
	"testing"
)

func TestOwn(t *testing.T) {
	held := make([]byte, 32<<20)
	for i := 0; i < len(held); i += 1 << 10 {
		held[i] = 1
	}
	if got, err := Resident(os.Getpid()); err != nil || got < int64(len(held)) {
		t.Errorf("resident: %d, %v", got, err)
	}
	if got, err := Peak(os.Getpid()); err != nil || got < int64(len(held))/2 {
		t.Errorf("peak: %d, %v", got, err)
	}
	own := OwnCPU()
	if got, err := CPU(os.Getpid()); err != nil || own <= 0 || got < own || got > OwnCPU()+1e8 {
		t.Errorf("CPU: %v, %v; own %v", got, err, own)
	}
	if held[0] != 1 {
		t.Error("unreachable: keeps the memory in use")
	}
}

func TestGone(t *testing.T) {
	const pid = 1<<22 + 1 // larger than any pid
	if _, err := Resident(pid); err == nil {
		t.Error("resident memory of a process that cannot be")
	}
	if _, err := Peak(pid); err == nil {
		t.Error("peak of a process that cannot be")
	}
	if err := ResetPeak(pid); err == nil {
		t.Error("peak of a process that cannot be begins again")
	}
	if _, err := CPU(pid); err == nil {
		t.Error("CPU time of a process that cannot be")
	}
}

func TestMachine(t *testing.T) {
	if got, err := Machine(); err != nil || !strings.Contains(got, "cores") || !strings.Contains(got, "Linux") {
		t.Errorf("machine: %q, %v", got, err)
	}
	if load, err := Load(); err != nil || load < 0 {
		t.Errorf("load: %v, %v", load, err)
	}
}
