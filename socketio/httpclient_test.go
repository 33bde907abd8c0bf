package socketio_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/myriad-rt/myriad/socketio"
)

const (
	pollingPath = "/socket.io/?EIO=4&transport=polling"

	handshakeFields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	upgradeFields = "Host: a\r\n" + handshakeFields + "\r\n\r\n"
)

// httpClient is one connection that speaks HTTP.
type httpClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	sid  string
}

func dialHTTP(t *testing.T, address string) *httpClient {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &httpClient{t: t, conn: conn, r: bufio.NewReader(conn)}
}

func (c *httpClient) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("writing %.60q: %v", s, err)
	}
}

// sendSplit sends s in pieces of n bytes.
func (c *httpClient) sendSplit(s string, n int) {
	c.t.Helper()
	for piece := range slices.Chunk([]byte(s), n) {
		c.send(string(piece))
	}
}

// answer reads a response to a request with this method.
func (c *httpClient) answer(method string) (res *http.Response, body string, err error) {
	c.t.Helper()
	if res, err = http.ReadResponse(c.r, &http.Request{Method: method}); err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// want reads a response, whose body must be one of these.
func (c *httpClient) want(bodies ...string) {
	c.t.Helper()
	_, body, err := c.answer("GET")
	if err != nil || !slices.Contains(bodies, body) {
		c.t.Fatalf("got %.200q, %v, want %.200q", body, err, bodies)
	}
}

// wantEnd waits for the end of the connection. Nothing may be received before it.
func (c *httpClient) wantEnd() {
	c.t.Helper()
	var timeout net.Error
	if b, err := io.ReadAll(c.r); len(b) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("got %.200q, %v, want the end", b, err)
	}
}

func (c *httpClient) get() string {
	return "GET " + pollingPath + "&sid=" + c.sid + " HTTP/1.1\r\nHost: a\r\n\r\n"
}

func (c *httpClient) post(body string) string {
	return fmt.Sprintf("POST %s&sid=%s HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s",
		pollingPath, c.sid, len(body), body)
}

// open opens a session, without a socket.
func (c *httpClient) open() *httpClient {
	c.t.Helper()
	c.send("GET " + pollingPath + " HTTP/1.1\r\nHost: a\r\n\r\n")
	_, body, err := c.answer("GET")
	if err != nil || !strings.HasPrefix(body, "0{") {
		c.t.Fatalf("open packet: %q, %v", body, err)
	}
	c.sid = gjson.Get(body[1:], "sid").String()
	return c
}

// join opens a session with a socket.
func (c *httpClient) join() *httpClient {
	c.t.Helper()
	c.open()
	c.send(c.post("40"))
	c.want("ok")
	c.send(c.get())
	if _, body, err := c.answer("GET"); err != nil || !strings.HasPrefix(body, `40{"sid":`) {
		c.t.Fatalf("answer to CONNECT: %q, %v", body, err)
	}
	return c
}

// also returns another connection with the same session.
func (c *httpClient) also(address string) *httpClient {
	c.t.Helper()
	other := dialHTTP(c.t, address)
	other.sid = c.sid
	return other
}

// poll sends a GET and waits until it waits.
func (c *httpClient) poll(s *socketio.Server) *httpClient {
	c.t.Helper()
	c.send(c.get())
	session := s.Engine().Session(c.sid)
	if session == nil {
		c.t.Fatal("the session has ended")
	}
	eventually(c.t, "the poll waits", session.Writable)
	return c
}
