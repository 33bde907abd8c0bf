// Package natstest starts NATS servers for tests.
package natstest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/internal/testing/daemon"
)

// Server is a NATS server for one test.
type Server struct {
	Addr string
	daemon.Daemon
}

// Start starts a server on a free port of the loopback interface and stops it when the test ends. config is added
// to its configuration. If nats-server is not installed, the test is skipped, or fails in CI.
func Start(tb testing.TB, config ...string) *Server {
	tb.Helper()
	port := daemon.FreePort(tb)
	s := &Server{Addr: daemon.Addr(port)}
	file := filepath.Join(tb.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(strings.Join(config, "\n")), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.Daemon = daemon.Daemon{
		Command: "nats-server", Package: "nats-server",
		Args:  []string{"--config", file, "--addr", "127.0.0.1", "--port", strconv.Itoa(port)},
		Ready: func() error { return greet(s.Addr) },
	}
	s.Daemon.Start(tb)
	return s
}

// URL returns the URL for clients.
func (s *Server) URL() string { return "nats://" + s.Addr }

// greet waits for the line that a server sends on each connection.
func greet(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "INFO ") {
		err = fmt.Errorf("it says %q", line)
	}
	return err
}
