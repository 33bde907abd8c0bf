package socketio_test

import (
	"bufio"
	"net/http"
	"runtime"
	"testing"
)

// Polls that wait take neither goroutines nor buffers.
func TestParkedPollsAreSmall(t *testing.T) {
	const clients, maxBytes = 1000, 6000 // of the heap, for each client: with its end in this process
	server := newServer(t, nil)
	address := serveItself(t, server)
	warm := dialHTTP(t, address).join().poll(server)
	goroutines, bytes := runtime.NumGoroutine(), heapBytes()
	all := make([]*httpClient, clients)
	for i := range all {
		all[i] = dialHTTP(t, address).join()
		all[i].r = nil
		all[i].poll(server)
	}
	used := (heapBytes() - bytes) / clients
	t.Logf("%d bytes, %d goroutines for %d polls", used, runtime.NumGoroutine()-goroutines, clients)
	if used > maxBytes {
		t.Errorf("a poll that waits keeps %d bytes, want at most %d", used, maxBytes)
	}
	eventually(t, "there are no goroutines but those of the server", func() bool { return runtime.NumGoroutine() <= goroutines })
	if err := server.Emit("all"); err != nil {
		t.Fatal(err)
	}
	warm.want(`42["all"]`)
	for _, c := range all {
		c.r = bufio.NewReader(c.conn)
		c.want(`42["all"]`)
	}
	for _, c := range all[:clients/2] {
		c.poll(server)
		c.conn.Close()
	}
	eventually(t, "those who have left are noticed", func() bool { return len(server.Sockets()) <= 1+clients-clients/2 })
}

// With middleware net/http reads the handshake. The WebSocket still runs on an event loop.
func TestWebSocketsBehindMiddlewareTakeNoGoroutines(t *testing.T) {
	const clients = 50
	server := newServer(t, nil)
	server.Engine().Use(func(next http.Handler) http.Handler { return next })
	address := serveItself(t, server)
	connect(t, address, "")
	before := runtime.NumGoroutine()
	for range clients {
		connect(t, address, "")
	}
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() < before+clients/2 })
}

func heapBytes() int {
	var m runtime.MemStats
	for range 3 { // pools let go of their contents in the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
