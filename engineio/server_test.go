package engineio

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/myriad-rt/myriad/internal/testing/leak"
	"github.com/myriad-rt/myriad/internal/testing/pipenet"
	"github.com/myriad-rt/myriad/transport"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// within reports whether done becomes true in time.
func within(d time.Duration, done func() bool) bool {
	for deadline := time.Now().Add(d); ; time.Sleep(time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	if !within(patience, done) {
		t.Fatalf("%s: not in time", what)
	}
}

// echo sends every message back, and records how its session ended.
type echo struct {
	s      *Session
	closed chan ending
	on     func(data []byte, binary bool) bool // instead of echoing
	run    func()
	drain  func()
}

type ending struct {
	reason CloseReason
	err    error
}

func newEcho(s *Session) *echo { return &echo{s: s, closed: make(chan ending, 2)} }

func (e *echo) HandleMessage(data []byte, binary bool) bool {
	if e.on != nil {
		return e.on(data, binary)
	}
	m := transport.NewMessage()
	defer m.Release()
	if binary {
		m.SetBinary(data)
	} else {
		m.SetText(append(m.Buffer(), data...))
	}
	_ = e.s.Send(m)
	return false
}

func (e *echo) Run() {
	if e.run != nil {
		e.run()
	}
}

func (e *echo) HandleDrain() {
	if e.drain != nil {
		e.drain()
	}
}

func (e *echo) HandleClose(reason CloseReason, err error) { e.closed <- ending{reason, err} }

// expect waits for the end of the session.
func (e *echo) expect(t *testing.T, reason CloseReason, err string) {
	t.Helper()
	select {
	case c := <-e.closed:
		if got := fmt.Sprint(c.err); c.reason != reason || !strings.Contains(got, err) {
			t.Errorf("closed with %q, %v; want %q, %s", c.reason, c.err, reason, err)
		}
	case <-time.After(patience):
		t.Fatal("the session has not been closed")
	}
	if s := e.s.State(); s != StateClosed {
		t.Errorf("State() = %d after HandleClose", s)
	}
	if err := e.s.Send(transport.TextMessage("late")); err != ErrClosed {
		t.Errorf("Send after the end returned %v", err)
	}
}

// fixture is a Server behind net/http.
type fixture struct {
	t        *testing.T
	server   *Server
	http     *httptest.Server
	sessions chan *echo
	dialNet  func(ctx context.Context, network, addr string) (net.Conn, error)
	patience time.Duration
}

// serve starts a Server. Sessions echo unless options.OnSession is set.
func serve(t *testing.T, options Options) *fixture {
	t.Helper()
	return serveOn(t, options, nil)
}

// serveInMemory is serve for use in a synctest bubble.
func serveInMemory(t *testing.T, options Options) *fixture {
	t.Helper()
	options.DisableEpoll = true
	return serveOn(t, options, pipenet.Listen())
}

func serveOn(t *testing.T, options Options, pipes *pipenet.Listener) *fixture {
	t.Helper()
	f := &fixture{t: t, sessions: make(chan *echo, 10000), patience: patience}
	if options.OnSession == nil {
		options.OnSession = func(s *Session) Handler {
			e := newEcho(s)
			f.sessions <- e
			return e
		}
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	server, err := NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	f.server = server
	config := &http.Server{Handler: server, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	if pipes == nil {
		f.http = httptest.NewUnstartedServer(nil)
		f.http.Config = config
		f.dialNet = new(net.Dialer).DialContext
		f.http.Start()
	} else {
		f.http = &httptest.Server{Listener: pipes, Config: config}
		f.dialNet = pipes.Dial
		f.patience = 10 * time.Minute
		f.http.Start()
	}
	f.http.Client().Transport = &http.Transport{DialContext: f.dialNet}
	t.Cleanup(func() {
		server.Close()
		f.http.Client().CloseIdleConnections()
		f.http.CloseClientConnections()
		f.http.Close()
		// A session that was ending by itself when Close was called may take a moment.
		if !within(f.patience, func() bool { return server.ClientsCount() == 0 && server.wheel.Len() == 0 }) {
			t.Errorf("%d sessions and %d timers are left after Close", server.ClientsCount(), server.wheel.Len())
		}
	})
	return f
}

func (f *fixture) session() *echo {
	f.t.Helper()
	select {
	case e := <-f.sessions:
		return e
	case <-time.After(patience):
		f.t.Fatal("no session was opened")
		return nil
	}
}

const path = "/engine.io/"

// do sends a request and returns the status and the body.
func (f *fixture) do(method, query, body string, header ...string) (int, string, http.Header) {
	f.t.Helper()
	status, text, h, err := f.try(method, query, strings.NewReader(body), header...)
	if err != nil {
		f.t.Fatal(err)
	}
	return status, text, h
}

func (f *fixture) try(method, query string, body io.Reader, header ...string) (int, string, http.Header, error) {
	url := f.http.URL + path + query
	if strings.HasPrefix(query, "/") {
		url = f.http.URL + query
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, "", nil, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if method == http.MethodPost && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	response, err := f.http.Client().Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return response.StatusCode, string(b), response.Header, err
}

type openPacket struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"`
	PingTimeout  int      `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

func parseOpen(t *testing.T, body string) openPacket {
	t.Helper()
	var p openPacket
	if !strings.HasPrefix(body, "0") {
		t.Fatalf("not an open packet: %q", body)
	}
	if err := json.Unmarshal([]byte(body[1:]), &p); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return p
}

// poller is a polling client.
type poller struct {
	f     *fixture
	query string
	sid   string
	open  openPacket
}

func (f *fixture) poll() *poller {
	f.t.Helper()
	status, body, _ := f.do("GET", "?EIO=4&transport=polling", "")
	if status != 200 {
		f.t.Fatalf("handshake: status %d, %s", status, body)
	}
	open := parseOpen(f.t, body)
	return &poller{f: f, sid: open.SID, query: "?EIO=4&transport=polling&sid=" + open.SID, open: open}
}

func (p *poller) get() (int, string) {
	p.f.t.Helper()
	status, body, _ := p.f.do("GET", p.query, "")
	return status, body
}

func (p *poller) post(body string) (int, string) {
	p.f.t.Helper()
	status, text, _ := p.f.do("POST", p.query, body)
	return status, text
}

func (p *poller) wantGet(status int, body string) {
	p.f.t.Helper()
	if s, b := p.get(); s != status || b != body {
		p.f.t.Errorf("GET: %d %q, want %d %q", s, b, status, body)
	}
}

func (p *poller) wantPost(packets string, status int, body string) {
	p.f.t.Helper()
	if s, b := p.post(packets); s != status || b != body {
		p.f.t.Errorf("POST %.40q: %d %q, want %d %q", packets, s, b, status, body)
	}
}

const unknownSession = `{"code":1,"message":"Session ID unknown"}`

func (p *poller) wantGone() {
	p.f.t.Helper()
	p.wantGet(400, unknownSession)
}

// park sends a GET and returns once it waits. The channel has its response.
func (p *poller) park() <-chan string {
	p.f.t.Helper()
	answer := make(chan string, 1)
	go func() {
		status, body, _, err := p.f.try("GET", p.query, http.NoBody)
		answer <- fmt.Sprint(status, " ", body, errText(err))
	}()
	session := p.f.server.Session(p.sid)
	eventually(p.f.t, "the GET waits", func() bool { return session.Writable() })
	return answer
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return " " + err.Error()
}

func want(t *testing.T, answer <-chan string, text string) {
	t.Helper()
	select {
	case got := <-answer:
		if got != text {
			t.Errorf("response %q, want %q", got, text)
		}
	case <-time.After(patience):
		t.Errorf("no response, want %q", text)
	}
}

// socket is a WebSocket client.
type socket struct {
	t        *testing.T
	conn     net.Conn
	rw       *bufio.ReadWriter
	mu       sync.Mutex
	patience time.Duration
}

// dial opens a WebSocket.
func (f *fixture) dial(query string) *socket {
	f.t.Helper()
	dialer := ws.Dialer{NetDial: f.dialNet, TLSConfig: &tls.Config{InsecureSkipVerify: true}}
	conn, buffered, _, err := dialer.Dial(context.Background(), "ws"+strings.TrimPrefix(f.http.URL, "http")+path+query)
	if err != nil {
		f.t.Fatal(err)
	}
	s := &socket{t: f.t, conn: conn, patience: f.patience}
	r := io.Reader(conn)
	if buffered != nil {
		r = buffered
	}
	s.rw = bufio.NewReadWriter(bufio.NewReader(r), bufio.NewWriter(conn))
	_ = conn.SetDeadline(time.Now().Add(f.patience))
	f.t.Cleanup(func() { conn.Close() })
	return s
}

// open opens a WebSocket session.
func (f *fixture) open() (*socket, openPacket) {
	f.t.Helper()
	s := f.dial("?EIO=4&transport=websocket")
	return s, parseOpen(f.t, s.text())
}

func (s *socket) next() (ws.OpCode, []byte) {
	s.t.Helper()
	op, payload, err := s.frame()
	if err != nil {
		s.t.Fatalf("read: %v", err)
	}
	return op, payload
}

func (s *socket) frame() (ws.OpCode, []byte, error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(s.patience))
	h, err := ws.ReadHeader(s.rw)
	if err != nil {
		return 0, nil, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(s.rw, payload)
	return h.OpCode, payload, err
}

func (s *socket) text() string {
	s.t.Helper()
	op, b := s.next()
	if op != ws.OpText {
		s.t.Fatalf("opcode %d %q, want a text frame", op, b)
	}
	return string(b)
}

func (s *socket) want(text string) {
	s.t.Helper()
	if got := s.text(); got != text {
		s.t.Errorf("frame %q, want %q", got, text)
	}
}

// wantClose reads a close frame with this payload and then the end of the connection.
func (s *socket) wantClose(payload string) {
	s.t.Helper()
	op, b := s.next()
	if op != ws.OpClose || string(b) != payload {
		s.t.Fatalf("opcode %d %q, want a close frame %q", op, b, payload)
	}
	s.send(ws.OpClose, b)
	if _, _, err := s.frame(); err == nil {
		s.t.Error("a frame after the close frame")
	}
}

func (s *socket) send(op ws.OpCode, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.patience))
	if err := wsutil.WriteClientMessage(s.rw.Writer, op, bytes.Clone(b)); err == nil {
		_ = s.rw.Flush()
	}
}

func (s *socket) write(packets ...string) {
	for _, p := range packets {
		s.send(ws.OpText, []byte(p))
	}
}

// upgrade upgrades a polling client to WebSocket.
func (p *poller) upgrade() *socket {
	p.f.t.Helper()
	s := p.f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
	s.write("2probe")
	s.want("3probe")
	s.write("5")
	session := p.f.server.Session(p.sid)
	eventually(p.f.t, "upgrade", session.Upgraded)
	return s
}
