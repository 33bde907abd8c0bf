package epoll

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// events is a Watched.
type events chan Events

func (e events) HandleEvents(what Events) { e <- what }

// await waits until all of want have been said.
func (e events) await(t *testing.T, want Events) {
	t.Helper()
	deadline := time.After(patience)
	for got := Events(0); got&want != want; {
		select {
		case what := <-e:
			got |= what
		case <-deadline:
			t.Fatalf("got %b, want %b", got, want)
		}
	}
}

// read reads from conn, waiting for news as often as there is nothing.
func (e events) read(t *testing.T, conn Waiter) string {
	t.Helper()
	b := make([]byte, 10)
	for {
		n, err := conn.Read(b)
		if err == nil {
			return string(b[:n])
		}
		if err != ErrWouldBlock {
			t.Fatal(err)
		}
		e.await(t, Readable)
	}
}

func acceptWaiter(t *testing.T, l net.Listener) Waiter {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(Waiter)
}

func newWatcher(t *testing.T) *Watcher {
	t.Helper()
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func TestWatcher(t *testing.T) {
	l, dial := openListener(t, "tcp", "127.0.0.1:0")
	w := newWatcher(t)
	client := dial("a").(*net.TCPConn)
	conn, said := acceptWaiter(t, l), make(events, 100)
	id, err := w.Watch(conn, said)
	if err != nil {
		t.Fatal(err)
	}
	said.await(t, Readable|Writable)
	if got := said.read(t, conn); got != "a" {
		t.Errorf("read %q", got)
	}
	if _, err := conn.Read(make([]byte, 1)); err != ErrWouldBlock {
		t.Errorf("reading nothing: %v", err)
	}
	_, _ = io.WriteString(client, "b")
	if got := said.read(t, conn); got != "b" {
		t.Errorf("read %q", got)
	}

	// There is news of room when the peer has made some. The kernel may find some by itself before.
	b := make([]byte, 1<<20)
	write := func() int {
		n, err := conn.TryWrite(b)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for write() > 0 {
	}
	go io.Copy(io.Discard, client)
	for write() == 0 {
		said.await(t, Writable)
	}

	if err := conn.CloseWrite(); err != nil {
		t.Error(err)
	}
	_ = client.CloseWrite()
	said.await(t, Readable|Gone)
	w.Unwatch(conn, id)
	conn.Close()
	if _, err := conn.TryWrite(b); err == nil {
		t.Error("a closed connection was written to")
	}
}

// A connection that gets the number of another's descriptor does not get its events.
func TestWatcherTellsConnectionsApart(t *testing.T) {
	l, dial := openListener(t, "tcp", "127.0.0.1:0")
	w := newWatcher(t)
	for range 100 {
		dial("a")
		first := acceptWaiter(t, l)
		fd := first.(*accepted).fd
		before := make(events, 100)
		id, err := w.Watch(first, before)
		if err != nil {
			t.Fatal(err)
		}
		w.Unwatch(first, id)
		first.Close()

		client := dial("b")
		second, after := acceptWaiter(t, l), make(events, 100)
		if id, err = w.Watch(second, after); err != nil {
			t.Fatal(err)
		}
		after.await(t, Readable)
		for len(before) > 0 {
			<-before // one that was on its way
		}
		client.Close()
		after.await(t, Gone)
		if same := second.(*accepted).fd == fd; same && len(before) > 0 {
			t.Fatalf("the first connection is told %b of the second", <-before)
		}
		w.Unwatch(second, id)
		second.Close()
	}
}

// A connection may go on as one of net, or be watched no more.
func TestUnwatch(t *testing.T) {
	l, dial := openListener(t, "tcp", "127.0.0.1:0")
	w := newWatcher(t)
	client := dial("a")
	conn, said := acceptWaiter(t, l), make(events, 100)
	id, err := w.Watch(conn, said)
	if err != nil {
		t.Fatal(err)
	}
	said.await(t, Readable)
	w.Unwatch(conn, id)
	if err := conn.Wait(); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dial("c")
	other, heard := acceptWaiter(t, l), make(events, 100)
	defer other.Close()
	if id, err = w.Watch(other, heard); err != nil {
		t.Fatal(err)
	}
	heard.await(t, Readable)
	w.Unwatch(other, id)
	for len(said) > 0 {
		<-said // what was on its way
	}
	go io.WriteString(client, strings.Repeat("b", 10))
	if _, err := io.ReadFull(conn, make([]byte, 11)); err != nil {
		t.Fatal(err)
	}
	if len(said) > 0 {
		t.Errorf("told %b", <-said)
	}
}
