package epoll

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/transport"
)

func TestHandshakeAnswer(t *testing.T) {
	s, err := NewServer(&Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := http.Header{"X-Extra": {"1", "2"}, "Content-Length": {"5"}, "Upgrade": {"other"}, "X-Lines": {"a\r\nb"}}
		c, err := s.Upgrade(wrapped{w}, r, header, transport.FormatV4)
		if err != nil {
			t.Error(err)
			return
		}
		c.Start(echoHandler{})
		c.Close(transport.CloseNone)
	}))
	defer ts.Close()
	for _, test := range []struct{ name, request, answer string }{
		{"RFC 6455 section 1.3", handshake,
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Extra: 1\r\nX-Extra: 2\r\nX-Lines: a  b\r\n\r\n"},
		{"subprotocols and extensions", strings.Replace(handshake, "\r\n\r\n",
			"\r\nSec-WebSocket-Protocol: chat.v2 ,\tother\r\nSec-WebSocket-Protocol: third\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1),
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat.v2\r\n" +
				"X-Extra: 1\r\nX-Extra: 2\r\nX-Lines: a  b\r\n\r\n"},
		{"version 8", strings.Replace(strings.Replace(handshake, "Version: 13", "Version: 8", 1), "websocket", "WebSocket", 1),
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Extra: 1\r\nX-Extra: 2\r\nX-Lines: a  b\r\n\r\n"},
	} {
		conn, err := net.Dial("tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, test.request+string(closeFrame(1000, "")))
		got, _ := io.ReadAll(conn)
		conn.Close()
		if answer, end, _ := strings.Cut(string(got), "\r\n\r\n"); answer+"\r\n\r\n" != test.answer {
			t.Errorf("%s: answer %q, want %q", test.name, got, test.answer)
		} else if !strings.HasPrefix(end, "\x88") {
			t.Errorf("%s: %q follows the answer", test.name, end)
		}
	}
}

// wrapped is a ResponseWriter wrapped by HTTP middleware.
type wrapped struct{ w http.ResponseWriter }

func (w wrapped) Header() http.Header         { return w.w.Header() }
func (w wrapped) Write(b []byte) (int, error) { return w.w.Write(b) }
func (w wrapped) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w wrapped) Unwrap() http.ResponseWriter { return w.w }

func TestHandshakeRefusals(t *testing.T) {
	change := func(from, to string) string {
		if !strings.Contains(handshake, from) {
			t.Fatalf("no %q", from)
		}
		return strings.Replace(handshake, from, to, 1)
	}
	protocol := func(value string) string {
		return change("\r\n\r\n", "\r\nSec-WebSocket-Protocol:"+value+"\r\n\r\n")
	}
	const (
		badProtocol = "400 Bad Request|Invalid Sec-WebSocket-Protocol header"
		badKey      = "400 Bad Request|Missing or invalid Sec-WebSocket-Key header"
	)
	kinds(t, func(t *testing.T, k kind) {
		ts := serve(t, k, func(*Conn) { t.Error("handshake is accepted") })
		for _, test := range []struct{ name, request, want string }{
			{"method", change("GET", "POST"), "405 Method Not Allowed|Invalid HTTP method"},
			{"no Upgrade", change("Upgrade: websocket\r\n", ""), "400 Bad Request|Invalid Upgrade header"},
			{"other Upgrade", change("websocket", "h2c"), "400 Bad Request|Invalid Upgrade header"},
			{"two Upgrades", change("websocket", "websocket\r\nUpgrade: h2c"), "400 Bad Request|Invalid Upgrade header"},
			{"no key", change("Sec-WebSocket-Key", "Other"), badKey},
			{"short key", change(testKey, "YQ=="), badKey},
			{"other key", change(testKey, "dGhlIHNhbXBsZSBub25jZ_=="), badKey},
			{"unpadded key", change(testKey, "dGhlIHNhbXBsZSBub25jZQaa"), badKey},
			{"no version", change("Sec-WebSocket-Version", "Other"), "400 Bad Request|" + badVersion},
			{"version 12", change("Version: 13", "Version: 12"), "400 Bad Request|" + badVersion},
			{"empty protocol", protocol(""), badProtocol},
			{"protocol with a space", protocol("a b"), badProtocol},
			{"comma first", protocol(",a"), badProtocol},
			{"comma last", protocol("a,"), badProtocol},
			{"quoted protocol", protocol(`"a"`), badProtocol},
			{"protocol twice", protocol("a,b, a"), badProtocol},
		} {
			conn := ts.dialRaw(t)
			io.WriteString(conn, test.request)
			got, _ := io.ReadAll(bufio.NewReader(conn))
			status, body, _ := strings.Cut(test.want, "|")
			extra := ""
			if body == badVersion {
				extra = "Sec-WebSocket-Version: 13, 8\r\n"
			}
			want := "HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: " +
				strconv.Itoa(len(body)) + "\r\n" + extra + "\r\n" + body
			if string(got) != want {
				t.Errorf("%s: answer %q, want %q", test.name, got, want)
			}
		}
	})
}

// TestUpgradeWithoutHijack uses a ResponseWriter that cannot be hijacked, which is logged once.
func TestUpgradeWithoutHijack(t *testing.T) {
	var log bytes.Buffer
	s, err := NewServer(&Options{Loops: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(handshake)))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w := httptest.NewRecorder()
		if _, err := s.Upgrade(w, request, nil, transport.FormatV4); !errors.Is(err, http.ErrNotSupported) || w.Code != 500 {
			t.Errorf("Upgrade: %v, status %d", err, w.Code)
		}
	}
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "*httptest.ResponseRecorder") {
		t.Errorf("logged %q", text)
	}
	request.Header.Set("Sec-WebSocket-Version", "7")
	w := httptest.NewRecorder()
	var refusal *HandshakeError
	if _, err := s.Upgrade(w, request, nil, transport.FormatV4); !errors.As(err, &refusal) || refusal.Status != 400 {
		t.Errorf("Upgrade: %v", err)
	}
	if w.Code != 400 || w.Body.String() != refusal.Message || w.Header().Get("Sec-WebSocket-Version") != "13, 8" {
		t.Errorf("answer %d %q %v", w.Code, w.Body, w.Header())
	}
}

// oneConn is an http.Hijacker of a server that reads requests itself.
type oneConn struct {
	httptest.ResponseRecorder
	conn net.Conn
	r    *bufio.Reader
}

func (o *oneConn) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return o.conn, bufio.NewReadWriter(o.r, nil), nil
}

func TestUpgradeOfOwnListener(t *testing.T) {
	s, err := NewServer(&Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, handshake+string(text("early"))+string(closeFrame(1000, "")))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	request, err := http.ReadRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Upgrade(&oneConn{conn: conn, r: r}, request, nil, transport.FormatV4)
	if err != nil {
		t.Fatal(err)
	}
	c.Start(echoHandler{})
	got, _ := io.ReadAll(client)
	if !strings.HasSuffix(string(got), "\r\n\r\n\x81\x05early\x88\x02\x03\xe8") {
		t.Errorf("received %q", got)
	}
}
