package httpserver

import (
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openAcceptor returns an acceptor, and a function that connects to it.
func openAcceptor(t *testing.T, network, address string) (*acceptor, func(send string) net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAcceptor(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		a.close()
	})
	return a, func(send string) net.Conn {
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

func (a *acceptor) socket(t *testing.T) *socket {
	t.Helper()
	s, err := a.accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSocket(t *testing.T) {
	kinds := map[string][2]string{"IPv4": {"tcp4", "127.0.0.1:0"}, "Unix": {"unix", filepath.Join(t.TempDir(), "s")}}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil { // not every machine has it
		l.Close()
		kinds["IPv6"] = [2]string{"tcp6", "[::1]:0"}
	}
	for name, address := range kinds {
		t.Run(name, func(t *testing.T) {
			a, dial := openAcceptor(t, address[0], address[1])
			for i, client := range []net.Conn{dial("hello"), dial("hello")} {
				s := a.socket(t)
				if name != "Unix" && s.RemoteAddr().String() != client.LocalAddr().String() {
					t.Errorf("%d: the peer is %s, want %s", i, s.RemoteAddr(), client.LocalAddr())
				}
				if s.RemoteAddr().Network() != client.LocalAddr().Network() {
					t.Errorf("%d: the network is %s", i, s.RemoteAddr().Network())
				}
				b := make([]byte, 10)
				var n int
				var err error
				until(t, "something has come", func() bool {
					n, err = s.Read(b)
					return err != errWouldBlock
				})
				if err != nil || string(b[:n]) != "hello" {
					t.Fatalf("%d: read %q, %v", i, b[:n], err)
				}
				if _, err := s.Read(b); err != errWouldBlock {
					t.Errorf("%d: reading nothing: %v", i, err)
				}
				if err := s.block(); err != nil {
					t.Fatal(err)
				}
				go io.WriteString(client, "again")
				if n, err = s.Read(b); err != nil || string(b[:n]) != "again" {
					t.Errorf("%d: after block, read %q, %v", i, b[:n], err)
				}
				if _, err := io.WriteString(s, "bye"); err != nil {
					t.Error(err)
				}
				s.Close()
				if got, err := io.ReadAll(client); err != nil || string(got) != "bye" {
					t.Errorf("%d: the client got %q, %v", i, got, err)
				}
			}
		})
	}
}

// A write of more than the kernel accepts at once completes, or fails at an earlier deadline.
func TestSocketWrites(t *testing.T) {
	const size = 16 << 20
	a, dial := openAcceptor(t, "tcp", "127.0.0.1:0")
	client := dial("a")
	s := a.socket(t)
	until(t, "the first byte has come", func() bool {
		n, _ := s.Read(make([]byte, 1))
		return n == 1
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.Write(make([]byte, size))
		s.Close()
	}()
	if n, err := io.Copy(io.Discard, client); n != size || err != nil {
		t.Errorf("the client got %d bytes, %v", n, err)
	}
	<-done
	dial("b")
	s = a.socket(t)
	_ = s.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := s.Write(make([]byte, size)); err == nil {
		t.Error("a client that does not read has taken everything")
	}
}

func TestAcceptEndsWithTheListener(t *testing.T) {
	a, dial := openAcceptor(t, "tcp", "127.0.0.1:0")
	dial("a")
	a.socket(t)
	failed := make(chan error)
	go func() {
		_, err := a.accept()
		failed <- err
	}()
	a.listener.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept returns %v", err)
	}
}

// A silent client is accepted eventually, so that time-outs apply to it.
func TestTheSilentAreAccepted(t *testing.T) {
	a, dial := openAcceptor(t, "tcp", "127.0.0.1:0")
	dial("")
	if _, err := a.socket(t).Read(make([]byte, 1)); err != errWouldBlock {
		t.Errorf("reading nothing: %v", err)
	}
}

// The kernel detects vanished clients, even of a connection that was waiting before.
func TestKeepAlive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial(t, l.Addr()).send("a")
	a, err := newAcceptor(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		a.close()
	})
	for i := range 3 {
		s := a.socket(t)
		dial(t, l.Addr()).send("a")
		for name, want := range map[int][2]int{
			unix.SO_KEEPALIVE:  {unix.SOL_SOCKET, 1},
			unix.TCP_KEEPIDLE:  {unix.IPPROTO_TCP, 15},
			unix.TCP_KEEPINTVL: {unix.IPPROTO_TCP, 15},
			unix.TCP_KEEPCNT:   {unix.IPPROTO_TCP, 9},
		} {
			if got, err := unix.GetsockoptInt(s.fd, want[0], name); got != want[1] || err != nil {
				t.Errorf("connection %d: option %d is %d, %v, want %d", i, name, got, err, want[1])
			}
		}
	}
}

// Closing the listener ends Serve and closes the port. Open connections are still served.
func TestListenerOfTheCaller(t *testing.T) {
	a := newApp()
	s, dialFirst := a.start(t, nil)
	first := dialFirst().send(get("/bytes?1"))
	first.want("x")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := dial(t, l.Addr()).send(get("/bytes?1"))
	c.want("x")
	l.Close()
	if err := receive(t, served); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve returns %v", err)
	}
	if other, err := net.Dial("tcp", l.Addr().String()); err == nil {
		other.Close()
		t.Error("the port accepts connections")
	}
	c.send(get("/bytes?2")).want("xx")
	c.send(get("/rest")).want("404 page not found\n")
	first.send(get("/bytes?2")).want("xx")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Serve(l); err != http.ErrServerClosed {
		t.Errorf("after Shutdown, Serve returns %v", err)
	}
}
