//go:build unix

package daemon

import (
	"errors"
	"os"
	"syscall"
)

// Hang suspends the server, with its connections open, until Resume is called.
func (d *Daemon) Hang() {
	d.tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := Stop(d.process.Process); err != nil {
		d.tb.Fatal(err)
	}
}

// Resume undoes Hang.
func (d *Daemon) Resume() {
	d.tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.process.Process.Signal(syscall.SIGCONT); err != nil {
		d.tb.Fatal(err)
	}
}

// Stop stops a running child process and returns when all of its threads have stopped.
func Stop(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.Pid, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return os.NewSyscallError("wait4", err)
		case !status.Stopped():
			return os.ErrProcessDone
		default:
			return nil
		}
	}
}
