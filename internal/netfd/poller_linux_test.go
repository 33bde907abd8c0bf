package netfd

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// sockets returns two connected sockets.
func sockets(t *testing.T) (a, b int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(pair[0])
		unix.Close(pair[1])
	})
	return pair[0], pair[1]
}

func open(t *testing.T) *Poller {
	t.Helper()
	p, err := OpenPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestPoller(t *testing.T) {
	const slot, generation = 7, 1 << 31
	p := open(t)
	a, b := sockets(t)
	if err := p.Control(unix.EPOLL_CTL_ADD, a, unix.EPOLLIN, slot, generation); err != nil {
		t.Fatal(err)
	}
	events := make([]unix.EpollEvent, 4)
	if n, errno := p.Wait(events, time.Now().Add(time.Millisecond)); n != 0 || errno != 0 {
		t.Errorf("at the deadline: %d events, %v", n, errno)
	}
	p.Wake()
	if n, errno := p.Wait(events, time.Time{}); n != 1 || errno != 0 || events[0].Fd != 0 || events[0].Pad != 0 {
		t.Errorf("after Wake: %d events, %v, %v", n, errno, events[0])
	}
	p.Awake()
	go Write(int32(b), []byte("x"))
	n, errno := p.Wait(events, time.Time{})
	if n != 1 || errno != 0 || uint32(events[0].Fd) != slot || uint32(events[0].Pad) != generation {
		t.Errorf("something to read: %d events, %v, %v", n, errno, events[0])
	}
	if !Unread(int32(a)) {
		t.Error("there is nothing to read")
	}
	buffer := make([]byte, 10)
	if n, errno := Read(int32(a), buffer); n != 1 || errno != 0 {
		t.Errorf("read %d bytes, %v", n, errno)
	}
	if n, errno := p.Poll(events); n != 0 || errno != 0 {
		t.Errorf("nothing to read: %d events, %v", n, errno)
	}
}

// Await tries again for each new event, although pending events are not taken from the kernel.
func TestAwait(t *testing.T) {
	const pieces = 20
	p := open(t)
	a, b := sockets(t)
	if err := p.Control(unix.EPOLL_CTL_ADD, a, unix.EPOLLIN, 1, 0); err != nil {
		t.Fatal(err)
	}
	got, next := 0, make(chan bool, 1)
	go func() {
		for range next {
			if n, err := Write(int32(b), []byte("x")); n != 1 || err != nil {
				t.Error(n, err)
			}
		}
	}()
	next <- true
	p.Await(time.Now().Add(30*time.Second), func() bool {
		if n, _ := Read(int32(a), make([]byte, 1)); n == 1 {
			if got++; got < pieces {
				next <- true
			}
		}
		return got == pieces
	})
	close(next)
	if got != pieces {
		t.Errorf("%d of %d pieces have come", got, pieces)
	}
}

func TestDetach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	fd := Detach(client.(*net.TCPConn))
	if fd < 0 {
		t.Fatal("no descriptor")
	}
	if _, err := client.Write([]byte("x")); err == nil {
		t.Error("the connection can still be used")
	}
	if n, err := WriteVectors(int32(fd), [][]byte{[]byte("a"), []byte("bc")}); n != 3 || err != nil {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	unix.Close(fd)
	b := make([]byte, 10)
	if n, err := server.Read(b); string(b[:n]) != "abc" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if fd := Detach(client.(*net.TCPConn)); fd >= 0 {
		t.Error("a closed connection has a descriptor")
	}
}
