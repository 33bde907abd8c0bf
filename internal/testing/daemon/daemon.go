// Package daemon runs servers for tests.
package daemon

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"
)

// patience bounds the start of a server.
const patience = 30 * time.Second

// Daemon is a server program that runs until it is killed.
type Daemon struct {
	// Command is the program, and Package the Debian package that contains it.
	Command, Package string
	Args             []string
	// Ready returns nil once the server answers.
	Ready func() error

	tb      testing.TB
	path    string
	mu      sync.Mutex
	process *exec.Cmd
	output  *bytes.Buffer
	ended   chan struct{} // closed when process has exited
}

// Start runs d until the test ends. If the program is not installed, the test is skipped, or fails in CI.
func (d *Daemon) Start(tb testing.TB) {
	tb.Helper()
	d.tb = tb
	path, err := exec.LookPath(d.Command)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + d.Command) // Debian installs servers there, often outside PATH
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("%s is not installed (Debian package %s)", d.Command, d.Package)
		}
		tb.Skipf("%s is not installed (Debian package %s)", d.Command, d.Package)
	}
	d.path = path
	d.Run()
	tb.Cleanup(d.Kill)
}

// Servers use ports below the system's ephemeral range. Otherwise another process might get a server's port before
// the server listens, or during a restart.
const (
	firstPort = 10_000
	ports     = 10_000
)

// FreePort returns a free port of the loopback interface. The port 10,000 higher is also free; a server of a Redis
// Cluster uses it. No other call of FreePort, in any process, returns either port before tb has ended.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for range ports {
		port := firstPort + rand.IntN(ports)
		// The owner of the UDP port owns the TCP ports. Nothing is sent to it.
		mark, err := net.ListenPacket("udp", Addr(port))
		if err != nil {
			continue
		}
		if isFree(port) && isFree(port+ports) {
			tb.Cleanup(func() { mark.Close() })
			return port
		}
		mark.Close()
	}
	tb.Fatal("no port is free")
	return 0
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", Addr(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// Addr returns the address of a port on the loopback interface.
func Addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Run starts the server again after Kill.
func (d *Daemon) Run() {
	d.tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.output = new(bytes.Buffer)
	d.process = exec.Command(d.path, d.Args...)
	d.process.Stdout, d.process.Stderr = d.output, d.output
	if err := d.process.Start(); err != nil {
		d.tb.Fatal(err)
	}
	d.ended = make(chan struct{})
	go func(process *exec.Cmd, ended chan struct{}) {
		_ = process.Wait() // killed
		close(ended)
	}(d.process, d.ended)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := d.Ready()
		select {
		case <-d.ended:
			d.tb.Fatalf("%s has ended\n%s", d.Command, d.output)
		default:
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.killLocked()
			d.tb.Fatalf("%s does not answer: %v\n%s", d.Command, err, d.output)
		}
	}
}

// Kill ends the server at once. It does nothing if the server is not running.
func (d *Daemon) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process != nil {
		d.killLocked()
	}
}

func (d *Daemon) killLocked() {
	_ = d.process.Process.Kill() // fails if the process has exited
	<-d.ended
	d.process = nil
}
