package epoll

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/transport"
)

const patience = 30 * time.Second

// kinds runs a test for each kind of connection.
func kinds(t *testing.T, test func(t *testing.T, k kind)) {
	for _, k := range []kind{
		{name: "epoll"},
		{name: "goroutines", options: Options{DisableEpoll: true}},
		{name: "tls", tls: true},
		{name: "unix", unix: true},
	} {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

type kind struct {
	name    string
	options Options
	tls     bool
	unix    bool
}

// onEpoll reports whether connections of this kind are on epoll.
func onEpoll(k kind) bool {
	return runtime.GOOS == "linux" && !k.tls && !k.options.DisableEpoll
}

// testServer is an HTTP server that upgrades every request.
type testServer struct {
	*Server
	http  *httptest.Server
	tls   bool
	conns chan *Conn
}

// serve starts a server. accept receives each upgraded connection before Start; if accept is nil, the connection is
// started with newHandler().
func serve(t testing.TB, k kind, accept func(c *Conn)) *testServer {
	t.Helper()
	s, err := NewServer(&k.options)
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: s, tls: k.tls, conns: make(chan *Conn, 1000)}
	ts.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.Upgrade(w, r, nil, transport.FormatV4)
		if err != nil {
			return
		}
		ts.conns <- c
		accept(c)
	}))
	if k.unix {
		l, err := net.Listen("unix", t.TempDir()+"/socket")
		if err != nil {
			t.Fatal(err)
		}
		ts.http.Listener.Close()
		ts.http.Listener = l
	}
	if k.tls {
		ts.http.StartTLS()
	} else {
		ts.http.Start()
	}
	t.Cleanup(func() {
		ts.http.Close()
		s.Close()
	})
	return ts
}

// echo starts c with a handler that sends every message back.
func echo(c *Conn) { c.Start(echoHandler{}) }

type echoHandler struct{}

func (echoHandler) HandleMessage(c transport.Conn, data []byte, binary bool) bool {
	if !binary {
		c.SendText(string(data))
		return false
	}
	m := transport.NewMessage()
	m.SetBinary(data)
	c.Send(m)
	m.Release()
	return false
}

func (echoHandler) Run(transport.Conn)                {}
func (echoHandler) HandleDrain(transport.Conn)        {}
func (echoHandler) HandleClose(transport.Conn, error) {}

// recorder records the calls of a Handler, and checks that they do not overlap.
type recorder struct {
	onMessage func(c transport.Conn, data []byte) bool
	onRun     func(c transport.Conn)

	mu       sync.Mutex
	log      []string
	drains   int
	closed   int
	err      error
	signal   chan struct{}
	busy     sync.Mutex
	overlaps int
}

func newRecorder() *recorder { return &recorder{signal: make(chan struct{}, 1)} }

func (r *recorder) note(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	select {
	case r.signal <- struct{}{}:
	default:
	}
}

func (r *recorder) exclusive(f func()) {
	if !r.busy.TryLock() {
		r.note(func() { r.overlaps++ })
		return
	}
	defer r.busy.Unlock()
	f()
}

func (r *recorder) HandleMessage(c transport.Conn, data []byte, binary bool) (run bool) {
	r.exclusive(func() {
		kind := "text "
		if binary {
			kind = "binary "
		}
		r.note(func() {
			if r.closed > 0 {
				r.overlaps++
			}
			r.log = append(r.log, kind+string(data))
		})
		if r.onMessage != nil {
			run = r.onMessage(c, data)
		}
	})
	return run
}

func (r *recorder) Run(c transport.Conn) {
	r.note(func() { r.log = append(r.log, "run") })
	if r.onRun != nil {
		r.onRun(c)
	}
}

func (r *recorder) HandleDrain(transport.Conn) {
	r.exclusive(func() { r.note(func() { r.drains++ }) })
}

func (r *recorder) HandleClose(c transport.Conn, err error) {
	r.exclusive(func() { r.note(func() { r.closed++; r.err = err }) })
}

// until waits until f, which is called with the lock held, returns true.
func (r *recorder) until(t testing.TB, what string, f func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		ok := f()
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.signal:
		case <-timeout:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("timed out waiting until %s; log %.200q, drains %d, closed %d (%v)", what, r.log, r.drains, r.closed, r.err)
		}
	}
}

func (r *recorder) untilClosed(t testing.TB) error {
	t.Helper()
	r.until(t, "closed", func() bool { return r.closed > 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != 1 {
		t.Errorf("HandleClose was called %d times", r.closed)
	}
	if r.overlaps != 0 {
		t.Errorf("%d calls overlapped or came after HandleClose", r.overlaps)
	}
	return r.err
}

// told returns the log so far.
func (r *recorder) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.log)
}

// messages returns the log so far without the Runs.
func (r *recorder) messages() []string {
	return slices.DeleteFunc(r.told(), func(s string) bool { return s == "run" })
}

// client is a raw WebSocket client.
type client struct {
	t testing.TB
	net.Conn
	r      *bufio.Reader
	answer *http.Response
}

const testKey = "dGhlIHNhbXBsZSBub25jZQ=="

const handshake = "GET /engine.io/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Key: " + testKey + "\r\nSec-WebSocket-Version: 13\r\n\r\n"

func (ts *testServer) dialRaw(t testing.TB) net.Conn {
	t.Helper()
	addr := ts.http.Listener.Addr()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	if ts.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// dial performs a handshake followed by early data.
func (ts *testServer) dial(t testing.TB, early ...byte) *client {
	t.Helper()
	c := &client{t: t, Conn: ts.dialRaw(t)}
	c.r = bufio.NewReader(c.Conn)
	c.send(append([]byte(handshake), early...))
	var err error
	if c.answer, err = http.ReadResponse(c.r, nil); err != nil {
		t.Fatal(err)
	}
	if c.answer.StatusCode != 101 {
		t.Fatalf("status %d", c.answer.StatusCode)
	}
	return c
}

func (c *client) send(b []byte) {
	c.t.Helper()
	c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// frame returns a masked frame.
func frame(fin bool, op transport.Op, payload string) []byte {
	f := ws.NewFrame(ws.OpCode(op), fin, []byte(payload))
	return ws.MustCompileFrame(ws.MaskFrameWith(f, [4]byte{1, 2, 3, byte(len(payload))}))
}

func text(payload string) []byte { return frame(true, transport.OpText, payload) }

func closeFrame(code int, reason string) []byte {
	return frame(true, transport.OpClose, string(appendCode(nil, code))+reason)
}

// readFrame reads a frame of a server under test.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// frame reads a frame, which may take as long as the first.
func (c *client) frame() (ws.Frame, error) {
	if c.Conn != nil { // as it is unless a test keeps the frames itself
		c.SetReadDeadline(time.Now().Add(patience))
	}
	return readFrame(c.r)
}

// next reads a frame and describes it.
func (c *client) next() string {
	c.t.Helper()
	f, err := c.frame()
	if err != nil {
		return c.end(err)
	}
	if f.Header.Masked || f.Header.Rsv != 0 || !f.Header.Fin {
		c.t.Errorf("unexpected header %+v", f.Header)
	}
	switch transport.Op(f.Header.OpCode) {
	case transport.OpText:
		return "text " + string(f.Payload)
	case transport.OpBinary:
		return "binary " + string(f.Payload)
	case transport.OpPong:
		return "pong " + string(f.Payload)
	case transport.OpClose:
		if len(f.Payload) == 0 {
			return "close"
		}
		return fmt.Sprintf("close %d%s", binary.BigEndian.Uint16(f.Payload), f.Payload[2:])
	default:
		return fmt.Sprintf("opcode %d", f.Header.OpCode)
	}
}

func (c *client) end(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "EOF"
	case errors.As(err, &timeout) && timeout.Timeout():
		c.t.Error("peer is silent")
		return "silence"
	default:
		return "reset"
	}
}

func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.next(); got != w {
			c.t.Fatalf("received %.100q, want %.100q", got, w)
		}
	}
}

// eventually polls until f returns true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
