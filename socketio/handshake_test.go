package socketio_test

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio"
)

// A connection that has carried polls may become a WebSocket.
func TestUpgradeOfAKeptConnection(t *testing.T) {
	server := newServer(t, nil)
	c := dialHTTP(t, serveItself(t, server)).open()
	c.send("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
		"\x81\x82\x00\x00\x00\x0040") // CONNECT, without waiting for the answer
	res, err := http.ReadResponse(c.r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	var got strings.Builder
	for !strings.Contains(got.String(), `40{"sid":`) {
		b, err := c.r.ReadByte()
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.WriteByte(b)
	}
}

// Everything that a client sends behind its handshake arrives, regardless of its size.
func TestMuchBehindAHandshake(t *testing.T) {
	var early bytes.Buffer
	for range 100 {
		_ = wsutil.WriteClientMessage(&early, ws.OpPong, bytes.Repeat([]byte("x"), 100)) // writing to a Buffer does not fail
	}
	early.Write(frames("40"))
	for name, kept := range map[string]bool{"new connection": false, "kept connection": true} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, nil)
			connected := make(chan bool, 1)
			server.OnConnect(func(*socketio.Socket) { connected <- true })
			c := dialHTTP(t, serveItself(t, server))
			if kept {
				c.open()
			}
			c.send("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n" + upgradeFields + early.String())
			receive(t, connected)
		})
	}
}

// A session may begin with polling and go on with WebSocket on another connection while a poll waits.
func TestProbeReleasesAParkedPoll(t *testing.T) {
	server := newServer(t, nil)
	address := serveItself(t, server)
	c := dialHTTP(t, address).join().poll(server)
	probe := dialHTTP(t, address)
	probe.send("GET /socket.io/?EIO=4&transport=websocket&sid=" + c.sid + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n" +
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
		"\x81\x86\x00\x00\x00\x002probe")
	c.want("6")
	probe.send("\x81\x81\x00\x00\x00\x005")
	eventually(t, "the session is upgraded", func() bool {
		session := server.Engine().Session(c.sid)
		return session != nil && session.Transport() == engineio.WebSocket
	})
}

// A WebSocket handshake that waits for middleware or for a client that does not read delays no other client.
func TestSlowHandshakes(t *testing.T) {
	server := newServer(t, &socketio.Options{ClientFiles: fstest.MapFS{
		"socket.io.js": {Data: bytes.Repeat([]byte("x"), 16<<20)},
	}})
	entered, gate := make(chan struct{}), make(chan struct{})
	defer close(gate)
	server.Engine().Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("wait") {
				entered <- struct{}{}
				<-gate
			}
			next.ServeHTTP(w, r)
		})
	})
	address := serveItself(t, server)
	file := dialHTTP(t, address)
	_ = file.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	file.send("GET /socket.io/socket.io.js HTTP/1.1\r\n" + upgradeFields)
	if b, err := file.r.Peek(12); err != nil || string(b) != "HTTP/1.1 200" {
		t.Errorf("got %q, %v", b, err)
	}
	waiting := dialHTTP(t, address)
	waiting.send("GET /socket.io/?EIO=4&transport=websocket&wait HTTP/1.1\r\n" + upgradeFields)
	receive(t, entered)
	connect(t, address, "")
	dialHTTP(t, address).join()
}
