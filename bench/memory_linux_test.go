package bench_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/socketio"
)

const (
	// maxLiveBytes is the figure of MEMORY.md for an idle connection and a seventh more, for allocation classes and tables that
	// have just grown.
	maxLiveBytes = 640
	idleClients  = 2000
)

// rawClient is a connection without any memory in the heap of this process.
type rawClient int

func dialRaw(t *testing.T, port, number int) rawClient {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := rawClient(fd)
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 16)
	binary.BigEndian.PutUint64(key, uint64(number))
	request := fmt.Sprintf("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nOrigin: https://chat.example\r\n"+
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept-Language: en\r\n\r\n", base64.StdEncoding.EncodeToString(key))
	if _, err := syscall.Write(fd, []byte(request)); err != nil {
		t.Fatal(err)
	}
	c.await(t, `"maxPayload"`)
	if _, err := syscall.Write(fd, []byte("\x81\x82\x00\x00\x00\x0040")); err != nil { // with a mask of zeros
		t.Fatal(err)
	}
	c.await(t, `40{"sid"`)
	return c
}

// await reads until text has been received.
func (c rawClient) await(t *testing.T, text string) {
	t.Helper()
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte(text)) {
		n, err := syscall.Read(int(c), buf)
		if err != nil || n == 0 {
			t.Fatalf("waiting for %s: %v after %q", text, err, got)
		}
		got = append(got, buf[:n]...)
	}
}

func liveBytes() int64 {
	var m runtime.MemStats
	for range 3 { // pools let go of their contents in the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestIdleConnectionIsSmall measures the heap memory of an idle WebSocket connection with one socket in one room.
// The sizes of the structs are tested in their packages.
func TestIdleConnectionIsSmall(t *testing.T) {
	server := socketio.NewServer(&socketio.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	defer server.Close()
	server.OnConnect(func(s *socketio.Socket) { _ = s.Join("all") })
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: server, ReadHeaderTimeout: time.Minute}
	go h.Serve(l)
	defer h.Close()
	port := l.Addr().(*net.TCPAddr).Port

	clients := make([]rawClient, 0, 2*idleClients)
	defer func() {
		for _, c := range clients {
			syscall.Close(int(c))
		}
	}()
	connect := func(n int) {
		for range n {
			clients = append(clients, dialRaw(t, port, len(clients)))
		}
	}
	connect(idleClients / 4) // fills pools and everything that is allocated once
	before := liveBytes()
	connect(idleClients)
	each := (liveBytes() - before) / idleClients
	t.Logf("%d bytes for each connection", each)
	if each > maxLiveBytes {
		t.Errorf("%d bytes for each connection, want at most %d", each, maxLiveBytes)
	}
	runtime.KeepAlive(server)
}
