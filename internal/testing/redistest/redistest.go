// Package redistest starts Redis servers for tests.
package redistest

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/internal/testing/daemon"
)

// Server is a Redis server for one test.
type Server struct {
	Addr string
	daemon.Daemon
}

// Start starts a server on a free port of the loopback interface and stops it when the test ends. It writes nothing
// to disk. args are added to its command line. If redis-server is not installed, the test is skipped, or fails in
// CI.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return start(tb, append([]string{"--dir", tb.TempDir(), "--save", "", "--appendonly", "no"}, args...)...)
}

func start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	port := daemon.FreePort(tb)
	s := &Server{Addr: daemon.Addr(port)}
	s.Daemon = daemon.Daemon{
		Command: "redis-server", Package: "redis-server",
		Args:  append(args, "--bind", "127.0.0.1", "--port", strconv.Itoa(port)),
		Ready: func() error { return ping(s.Addr) },
	}
	s.Daemon.Start(tb)
	return s
}

func ping(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	var answer [5]byte
	n, err := conn.Read(answer[:])
	if err == nil && string(answer[:n]) != "+PONG" {
		err = fmt.Errorf("it answers %q", answer[:n])
	}
	return err
}
