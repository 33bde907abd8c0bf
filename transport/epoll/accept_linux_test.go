package epoll

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// openListener returns what NewListener makes of a listener, and a function that connects to it.
func openListener(t *testing.T, network, address string) (net.Listener, func(send string) net.Conn) {
	t.Helper()
	inner, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(inner)
	t.Cleanup(func() { l.Close() })
	return l, func(send string) net.Conn {
		t.Helper()
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, send); err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestListener(t *testing.T) {
	kinds := map[string][2]string{"IPv4": {"tcp4", "127.0.0.1:0"}, "Unix": {"unix", filepath.Join(t.TempDir(), "s")}}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil { // not every machine has it
		l.Close()
		kinds["IPv6"] = [2]string{"tcp6", "[::1]:0"}
	}
	for name, address := range kinds {
		t.Run(name, func(t *testing.T) {
			l, dial := openListener(t, address[0], address[1])
			client := dial("hello")
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if name != "Unix" && conn.RemoteAddr().String() != client.LocalAddr().String() {
				t.Errorf("the peer is %s, want %s", conn.RemoteAddr(), client.LocalAddr())
			}
			if conn.RemoteAddr().Network() != client.LocalAddr().Network() {
				t.Errorf("the network is %s", conn.RemoteAddr().Network())
			}
			b := make([]byte, 10)
			var n int
			for deadline := time.Now().Add(patience); ; {
				if n, err = conn.Read(b); err != ErrWouldBlock || time.Now().After(deadline) {
					break
				}
			}
			if err != nil || string(b[:n]) != "hello" {
				t.Fatalf("read %q, %v", b[:n], err)
			}
			if _, err := conn.Read(b); err != ErrWouldBlock {
				t.Errorf("reading nothing: %v", err)
			}
			if err := conn.(Waiter).Wait(); err != nil {
				t.Fatal(err)
			}
			go io.WriteString(client, "again")
			if n, err = conn.Read(b); err != nil || string(b[:n]) != "again" {
				t.Errorf("after Wait, read %q, %v", b[:n], err)
			}
			if _, err := io.WriteString(conn, "bye"); err != nil {
				t.Error(err)
			}
			conn.Close()
			if got, err := io.ReadAll(client); err != nil || string(got) != "bye" {
				t.Errorf("the client got %q, %v", got, err)
			}
		})
	}
}

func TestListenerCloses(t *testing.T) {
	l, _ := openListener(t, "tcp", "127.0.0.1:0")
	failed := make(chan error)
	go func() {
		_, err := l.Accept()
		failed <- err
	}()
	time.Sleep(10 * time.Millisecond) // so that it usually waits; it need not
	l.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returns %v", err)
	}
}

// A client that says nothing is accepted in the end, so that time-outs apply to it.
func TestListenerAcceptsTheSilent(t *testing.T) {
	l, dial := openListener(t, "tcp", "127.0.0.1:0")
	dial("")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != ErrWouldBlock {
		t.Errorf("reading nothing: %v", err)
	}
}
