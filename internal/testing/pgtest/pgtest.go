//go:build unix

// Package pgtest starts PostgreSQL servers for tests.
package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/internal/testing/daemon"
)

// Server is a PostgreSQL server with a cluster of databases of a test's own.
type Server struct {
	// URL is the connection string of the database "postgres" for its superuser, who needs no password.
	URL string

	tb   testing.TB
	bin  string // the folder of the programs
	dir  string
	port int
	args []string

	mu      sync.Mutex
	process *exec.Cmd
	output  *bytes.Buffer
	ended   chan struct{} // closed when process has ended
}

// patience is how long a server may take to start or to end.
const patience = 30 * time.Second

// Start makes a cluster, which nothing else uses, and starts a server for it on a free port of the loopback interface.
// Both end with the test; what is written is not meant to outlast the machine. args are added to the command line, as in
// "-c", "max_connections=10". If PostgreSQL is not installed, the test is skipped, or fails when it runs as CI.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if initdb, err := exec.LookPath("initdb"); err == nil {
		found = append(found, initdb)
	}
	if len(found) == 0 {
		if os.Getenv("CI") == "true" {
			tb.Fatal("PostgreSQL is not installed (Debian package postgresql)")
		}
		tb.Skip("PostgreSQL is not installed (Debian package postgresql)")
	}
	// The server runs as somebody who could not enter a folder that the test has for itself.
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{tb: tb, bin: filepath.Dir(found[0]), dir: dir, port: daemon.FreePort(tb), args: args}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	s.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
	initdb := s.command("initdb", "--pgdata", s.data(), "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync")
	if output, err := initdb.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, output)
	}
	s.Run()
	tb.Cleanup(s.Kill)
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command returns a command that runs as somebody else if the test runs as root, for whom PostgreSQL does nothing.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	s.tb.Helper()
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	if os.Geteuid() != 0 {
		return cmd
	}
	account, err := user.Lookup("nobody")
	if err != nil {
		s.tb.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	if err := os.Chown(s.dir, uid, gid); err != nil {
		s.tb.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd
}

// Run starts the server again after Kill, with the same databases at the same address.
func (s *Server) Run() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.output = new(bytes.Buffer)
	s.process = s.command("postgres", append([]string{
		"-D", s.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", s.dir, "-F",
	}, s.args...)...)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	if err := s.process.Start(); err != nil {
		s.tb.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(process *exec.Cmd, ended chan struct{}) {
		_ = process.Wait() // it is ended by a signal
		close(ended)
	}(s.process, s.ended)
	for deadline := time.Now().Add(patience); !s.ready(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.ended:
			s.tb.Fatalf("postgres has ended\n%s", s.output)
		default:
		}
		if time.Now().After(deadline) {
			s.killLocked()
			s.tb.Fatalf("postgres is not ready\n%s", s.output)
		}
	}
}

// ready reports whether the server takes connections: it says so in the last field of its lock file.
func (s *Server) ready() bool {
	lock, _ := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	lines := strings.Split(string(lock), "\n")
	return len(lines) > 7 && lines[0] == strconv.Itoa(s.process.Process.Pid) && strings.TrimSpace(lines[7]) == "ready"
}

// Kill ends the server and its connections at once, as a crash does. It does nothing if it does not run.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.killLocked()
	}
}

func (s *Server) killLocked() {
	// SIGQUIT has it end its processes, without writing anything.
	_ = s.process.Process.Signal(syscall.SIGQUIT)
	_ = s.process.Process.Signal(syscall.SIGCONT)
	select {
	case <-s.ended:
	case <-time.After(patience):
		_ = s.process.Process.Kill()
		<-s.ended
	}
	s.process = nil
}

// Hang makes all processes of the server stop, with their connections open, until Resume is called.
func (s *Server) Hang() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	// The one that starts the others comes first, so that there will be no more of them.
	if err := daemon.Stop(s.process.Process); err != nil {
		s.tb.Fatal(err)
	}
	s.signalChildren(syscall.SIGSTOP)
}

// Resume ends what Hang has begun.
func (s *Server) Resume() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signalChildren(syscall.SIGCONT)
	if err := s.process.Process.Signal(syscall.SIGCONT); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *Server) signalChildren(sig syscall.Signal) {
	s.tb.Helper()
	for _, pid := range children(s.tb, s.process.Process.Pid) {
		_ = syscall.Kill(pid, sig) // it may have ended
	}
}

// children returns the processes that a process has started, as Linux tells.
func children(tb testing.TB, pid int) (pids []int) {
	tb.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no processes in /proc: %v", err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // the process may have ended
		// The name, in parentheses, may contain anything. State and parent follow it.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, child)
		}
	}
	return pids
}
