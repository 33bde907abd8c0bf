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

// Server is a PostgreSQL server with its own database cluster for one test.
type Server struct {
	// URL is the connection string of the database "postgres" for its superuser, without a password.
	URL string

	tb   testing.TB
	bin  string // the directory of the programs
	dir  string
	port int
	args []string

	mu      sync.Mutex
	process *exec.Cmd
	output  *bytes.Buffer
	ended   chan struct{} // closed when process has exited
}

// patience bounds the start and the end of a server.
const patience = 30 * time.Second

// Start creates a database cluster and starts a server for it on a free port of the loopback interface. Both end
// with the test; data is not synced to disk. args are added to the command line, as in "-c", "max_connections=10".
// If PostgreSQL is not installed, the test is skipped, or fails in CI.
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
	// The server's user could not enter a private directory of the test's user.
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

// command returns a command that runs as another user if the test runs as root, because PostgreSQL refuses to run
// as root.
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

// Run starts the server again after Kill, with the same databases and address.
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
		_ = process.Wait() // ended by a signal
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

// ready reports whether the server accepts connections, as stated in the last field of its lock file.
func (s *Server) ready() bool {
	lock, _ := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	lines := strings.Split(string(lock), "\n")
	return len(lines) > 7 && lines[0] == strconv.Itoa(s.process.Process.Pid) && strings.TrimSpace(lines[7]) == "ready"
}

// Kill ends the server and its connections at once, like a crash. It does nothing if the server is not running.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.killLocked()
	}
}

func (s *Server) killLocked() {
	// On SIGQUIT the server ends its processes without writing anything.
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

// Hang suspends all processes of the server, with their connections open, until Resume is called.
func (s *Server) Hang() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	// The parent process comes first, so that it starts no more processes.
	if err := daemon.Stop(s.process.Process); err != nil {
		s.tb.Fatal(err)
	}
	s.signalChildren(syscall.SIGSTOP)
}

// Resume undoes Hang.
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
		_ = syscall.Kill(pid, sig) // it may have exited
	}
}

// children returns the child processes of a process, as reported by Linux.
func children(tb testing.TB, pid int) (pids []int) {
	tb.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no processes in /proc: %v", err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // the process may have exited
		// The name, in parentheses, may contain anything. State and parent follow it.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, child)
		}
	}
	return pids
}
