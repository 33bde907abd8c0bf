package engineio

import (
	"bufio"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"unsafe"
)

func TestSessionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 128 {
		t.Errorf("a Session has %d bytes, want at most 128", n)
	}
}

// echoSession returns an open WebSocket session that echoes messages to a client that discards them.
func echoSession(tb testing.TB) *Session {
	tb.Helper()
	opened := make(chan *Session, 1)
	server, err := NewServer(&Options{OnSession: func(s *Session) Handler {
		opened <- s
		return newEcho(s)
	}})
	if err != nil {
		tb.Fatal(err)
	}
	web := httptest.NewServer(server)
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		conn.Close()
		_ = server.Close()
		web.Close()
	})
	if _, err := io.WriteString(conn, "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		tb.Fatal(err)
	}
	s := <-opened
	// The session has started when it answers.
	if _, err := conn.Write([]byte("\x81\x82\x00\x00\x00\x004a")); err != nil { // with a mask of zeros
		tb.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for line := ""; !strings.HasSuffix(line, "4a"); {
		b, err := r.ReadByte()
		if err != nil {
			tb.Fatal(err)
		}
		line += string(b)
	}
	go io.Copy(io.Discard, r)
	return s
}

func BenchmarkEcho(b *testing.B) {
	s := echoSession(b)
	data := []byte(`42["message",{"a":1}]`)
	b.ReportAllocs()
	for b.Loop() {
		(*webSocketHandler)(s).HandleMessage(s.conn, data, false)
	}
}
