package socketio_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/myriad-rt/myriad/internal/reuseport"
	"github.com/myriad-rt/myriad/socketio"
)

// TestReusePort starts two servers that share a port and both get connections, and a third one, which must not share it.
func TestReusePort(t *testing.T) {
	held, err := reuseport.Listen(t.Context(), "127.0.0.1:0", true) // keeps other programs from getting the port
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	addr := held.Addr().String()
	connected := make(chan int, 100)
	for i := range 2 {
		s := newServer(t, &socketio.Options{ReusePort: true})
		s.OnConnect(func(*socketio.Socket) { connected <- i })
		done := make(chan error, 1)
		go func() { done <- s.ListenAndServe(addr) }()
		t.Cleanup(func() {
			s.Close()
			if err := receive(t, done); err != http.ErrServerClosed {
				t.Errorf("ListenAndServe: %v", err)
			}
		})
	}
	if err := newServer(t, nil).ListenAndServe(addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a server that does not share the port: %v", err)
	}
	// Connections that the kernel assigns to the first listener are not accepted.
	eventually(t, "both listen", func() bool {
		table, err := os.ReadFile("/proc/net/tcp")
		listening := fmt.Sprintf(" 0100007F:%04X 00000000:0000 0A ", held.Addr().(*net.TCPAddr).Port)
		return err == nil && strings.Count(string(table), listening) == 3
	})
	held.Close()
	var got [2]int
	eventually(t, "each server gets connections", func() bool {
		connect(t, "http://"+addr, "").conn.Close()
		got[receive(t, connected)]++
		return got[0] > 0 && got[1] > 0
	})
}
