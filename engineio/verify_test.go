package engineio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

func refused(code Code) string { return fmt.Sprintf(`{"code":%d,"message":"%s"}`, code, code) }

func TestVerification(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	_, socketOpen := f.open()
	polling, v4 := "transport=polling", "?EIO=4&transport=polling"
	sid := v4 + "&sid=" + p.sid
	tests := []struct {
		name, method, query string
		status              int
		body                string
	}{
		{"unknown transport", "GET", "?EIO=4&transport=abc", 400, refused(0)},
		{"no transport", "GET", "?EIO=4", 400, refused(0)},
		{"constructor", "GET", "?EIO=4&transport=constructor", 400, refused(0)},
		{"__proto__", "GET", "?EIO=4&transport=__proto__", 400, refused(0)},
		{"webtransport", "GET", "?EIO=4&transport=webtransport", 400, refused(0)},
		{"unknown sid", "GET", v4 + "&sid=abc", 400, refused(1)},
		{"sid __proto__", "GET", v4 + "&sid=__proto__", 400, refused(1)},
		{"transport before sid", "GET", "?EIO=4&transport=abc&sid=abc", 400, refused(0)},
		{"POST", "POST", v4, 400, refused(2)},
		{"PUT", "PUT", v4, 400, refused(2)},
		{"OPTIONS", "OPTIONS", v4, 400, refused(2)},
		{"HEAD", "HEAD", v4, 400, ""},
		{"websocket without upgrade", "GET", "?EIO=4&transport=websocket", 400, refused(3)},
		{"websocket for a polling session", "GET", "?EIO=4&transport=websocket&sid=" + p.sid, 400, refused(3)},
		{"GET for a websocket session", "GET", v4 + "&sid=" + socketOpen.SID, 400, refused(3)},
		{"POST for a websocket session", "POST", v4 + "&sid=" + socketOpen.SID, 400, refused(3)},
		{"other protocol", "GET", "?EIO=3&transport=polling&sid=" + p.sid, 400, refused(3)},
		{"no EIO", "GET", "?" + polling, 400, refused(5)},
		{"EIO=abc", "GET", "?EIO=abc&" + polling, 400, refused(5)},
		{"EIO=5", "GET", "?EIO=5&" + polling, 400, refused(5)},
		{"EIO=04", "GET", "?EIO=04&" + polling, 400, refused(5)},
		{"last one wins", "GET", "?EIO=4&transport=polling&transport=abc", 400, refused(0)},
		{"PUT with sid", "PUT", sid, 500, ""},
		{"DELETE with sid", "DELETE", sid, 500, ""},
		{"OPTIONS with sid", "OPTIONS", sid, 500, ""},
		{"HEAD with sid", "HEAD", sid, 500, ""},
		{"outside of the path", "GET", "/engine.io?EIO=4&transport=polling", 404, "404 page not found\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body, h := f.do(tt.method, tt.query, "")
			if status != tt.status || body != tt.body {
				t.Errorf("%d %q, want %d %q", status, body, tt.status, tt.body)
			}
			if status == 400 && h.Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", h.Get("Content-Type"))
			}
			if h.Get("Set-Cookie") != "" || h.Get("Cache-Control") != "" {
				t.Errorf("header %v", h)
			}
		})
	}
	p.wantPost("4still alive", 200, "ok")
	p.wantGet(200, "4still alive")
}

func TestServedPaths(t *testing.T) {
	query := "?EIO=4&transport=polling"
	tests := []struct {
		name    string
		options Options
		target  string
		served  bool
	}{
		{"default", Options{}, "/engine.io/", true},
		{"below", Options{}, "/engine.io/default/", true},
		{"dots", Options{}, "/engine.io/../x", true},
		{"no slash", Options{}, "/engine.io", false},
		{"no slash wanted", Options{DisableTrailingSlash: true}, "/engine.io", true},
		{"slash nevertheless", Options{DisableTrailingSlash: true}, "/engine.io/", true},
		{"prefix", Options{DisableTrailingSlash: true}, "/engine.iox", true},
		{"custom", Options{Path: "/test"}, "/test/", true},
		{"custom with slash", Options{Path: "/test/"}, "/test/", true},
		{"custom without default", Options{Path: "/test"}, "/engine.io/", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := serve(t, tt.options)
			status, body, _ := f.do("GET", tt.target+query, "")
			if served := status == 200 && strings.HasPrefix(body, "0{"); served != tt.served {
				t.Errorf("%d %q", status, body)
			}
		})
	}
	f := serve(t, Options{})
	for _, q := range []string{query + "&sid=", "?transport=x&EIO=3&EIO=4&transport=polling", "?EIO=4&transport=poll%69ng&a=b&"} {
		if status, body, _ := f.do("GET", q, ""); status != 200 {
			t.Errorf("%s: %d %s", q, status, body)
		}
	}
}

func TestAllowRequest(t *testing.T) {
	var asked int
	f := serve(t, Options{AllowRequest: func(r *http.Request) error {
		asked++
		switch r.URL.Query().Get("who") {
		case "":
			return nil
		case "forbidden":
			return ErrForbidden
		default:
			return errors.New("not «today»")
		}
	}})
	p := f.poll()
	p.wantPost("4a", 200, "ok")
	s := p.upgrade()
	s.want("4a")
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	for query, want := range map[string]string{
		"?EIO=4&transport=polling&who=forbidden": refused(4),
		"?EIO=4&transport=polling&who=me":        `{"code":4,"message":"not «today»"}`,
		"?EIO=3&transport=polling&who=me":        `{"code":4,"message":"not «today»"}`,
	} {
		if status, body, _ := f.do("GET", query, ""); status != 403 || body != want {
			t.Errorf("%s: %d %q", query, status, body)
		}
	}
	if got := f.raw(upgradeRequest("?EIO=4&transport=websocket&who=me")); got != rawRefusal("not «today»") {
		t.Errorf("%q", got)
	}
	if got := f.raw(upgradeRequest("?EIO=4&transport=websocket&who=forbidden")); got != rawRefusal("Forbidden") {
		t.Errorf("%q", got)
	}
}

func TestGenerateID(t *testing.T) {
	var id string
	var err error
	var refusals []*ConnectionError
	f := serve(t, Options{
		GenerateID:        func(*http.Request) (string, error) { return id, err },
		OnConnectionError: func(e *ConnectionError) { refusals = append(refusals, e) },
	})
	id = "my \"id\"\n&"
	if got := f.poll(); got.sid != id || f.server.Session(id) == nil {
		t.Errorf("sid %q", got.sid)
	}
	handshake := func() (int, string) {
		status, body, _ := f.do("GET", "?EIO=4&transport=polling", "")
		return status, body
	}
	if status, body := handshake(); status != 400 || body != refused(3) {
		t.Errorf("duplicate: %d %q", status, body)
	}
	id, err = "x", errors.New("no idea")
	if status, body := handshake(); status != 400 || body != refused(3) {
		t.Errorf("error: %d %q", status, body)
	}
	if got := f.raw(upgradeRequest("?EIO=4&transport=websocket")); got != rawRefusal("Bad request") {
		t.Errorf("%q", got)
	}
	if len(refusals) != 3 || refusals[1].Context["name"] != "ID_GENERATION_ERROR" || !errors.Is(refusals[1], err) {
		t.Errorf("connection errors %v", refusals)
	}
}

func TestDefaultID(t *testing.T) {
	f := serve(t, Options{})
	a, b := f.poll().sid, f.poll().sid
	if ok, _ := regexp.MatchString(`^[A-Za-z0-9_-]{20}$`, a); !ok || a == b {
		t.Errorf("ids %q, %q", a, b)
	}
}

func TestConnectionError(t *testing.T) {
	var got *ConnectionError
	f := serve(t, Options{OnConnectionError: func(e *ConnectionError) { got = e }})
	p := f.poll()
	tests := []struct {
		query   string
		code    Code
		context string
	}{
		{"?EIO=4&transport=abc", 0, "map[transport:abc]"},
		{"?EIO=4", 0, "map[]"},
		{"?EIO=4&transport=", 0, "map[transport:]"},
		{"?EIO=4&transport=polling&sid=abc", 1, "map[sid:abc]"},
		{"?EIO=4&transport=websocket", 3, "map[name:TRANSPORT_HANDSHAKE_ERROR]"},
		{"?EIO=4&transport=websocket&sid=" + p.sid, 3, "map[name:TRANSPORT_MISMATCH previousTransport:polling transport:websocket]"},
		{"?EIO=3&transport=polling&sid=" + p.sid, 3, "map[name:PROTOCOL_MISMATCH previousProtocol:4 protocol:3]"},
		{"?EIO=3&transport=polling", 5, "map[protocol:3]"},
	}
	for _, tt := range tests {
		got = nil
		f.do("GET", tt.query, "")
		if got == nil || got.Code != tt.code || got.Message != tt.code.String() || fmt.Sprint(got.Context) != tt.context {
			t.Errorf("%s: %+v", tt.query, got)
		}
	}
	if n := f.server.Stats().Refused; n != uint64(len(tests)) {
		t.Errorf("%d requests were refused", n)
	}
}

// raw sends bytes and returns everything that the server sends until it closes the connection.
func (f *fixture) raw(request string) string {
	f.t.Helper()
	conn := f.connect()
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		f.t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		f.t.Errorf("%v after %q", err, b)
	}
	return string(b)
}

func upgradeRequest(query string, header ...string) string {
	fields := []string{
		"Host", "localhost", "Upgrade", "websocket", "Connection", "keep-alive, Upgrade",
		"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version", "13",
	}
	for i := 0; i < len(header); i += 2 {
		found := false
		for j := 0; j < len(fields); j += 2 {
			if strings.EqualFold(fields[j], header[i]) {
				fields[j+1], found = header[i+1], true
			}
		}
		if !found {
			fields = append(fields, header[i], header[i+1])
		}
	}
	request := "GET " + path + query + " HTTP/1.1\r\n"
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] != "" {
			request += fields[i] + ": " + fields[i+1] + "\r\n"
		}
	}
	return request + "\r\n"
}

func rawRefusal(text string) string {
	return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}

func TestRefusedUpgrades(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	ws := "?EIO=4&transport=websocket"
	tests := []struct{ name, request, want string }{
		{"unknown transport", upgradeRequest("?EIO=4&transport=abc"), rawRefusal("Transport unknown")},
		{"__proto__", upgradeRequest("?EIO=4&transport=__proto__"), rawRefusal("Transport unknown")},
		{"unknown sid", upgradeRequest(ws + "&sid=abc"), rawRefusal("Session ID unknown")},
		{"other protocol", upgradeRequest("?EIO=3&transport=websocket&sid=" + p.sid), rawRefusal("Bad request")},
		{"unsupported version", upgradeRequest("?EIO=3&transport=websocket"), rawRefusal("Unsupported protocol version")},
		{"POST", strings.Replace(upgradeRequest(ws), "GET", "POST", 1), rawRefusal("Bad handshake method")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := f.raw(tt.request); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	statuses := []struct{ name, request, status string }{
		{"no key", upgradeRequest(ws, "Sec-WebSocket-Key", ""), "400"},
		{"bad key", upgradeRequest(ws, "Sec-WebSocket-Key", "abc"), "400"},
		{"bad version", upgradeRequest(ws, "Sec-WebSocket-Version", "12"), "400"},
		{"other protocol", upgradeRequest(ws, "Upgrade", "h2c"), "400"},
		{"no key for an upgrade", upgradeRequest(ws+"&sid="+p.sid, "Sec-WebSocket-Key", ""), "400"},
	}
	for _, tt := range statuses {
		t.Run(tt.name, func(t *testing.T) {
			if got := f.raw(tt.request); !strings.HasPrefix(got, "HTTP/1.1 "+tt.status) {
				t.Errorf("%q", got)
			}
		})
	}
	if n := f.server.ClientsCount(); n != 1 {
		t.Errorf("%d sessions", n)
	}
	p.wantPost("4alive", 200, "ok")
}

func TestPollingWithUpgrade(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	for _, query := range []string{"?EIO=4&transport=polling", p.query} {
		conn, err := net.Dial("tcp", f.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, upgradeRequest(query))
		r := bufio.NewReader(conn)
		response, err := http.ReadResponse(r, nil)
		if err != nil || response.StatusCode != 101 {
			t.Fatalf("%v %v", response, err)
		}
		frame := make([]byte, 2)
		if _, err := io.ReadFull(r, frame); err != nil || string(frame) != "\x88\x00" {
			t.Errorf("%x %v", frame, err)
		}
	}
	if n := f.server.ClientsCount(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestTransports(t *testing.T) {
	f := serve(t, Options{Transports: []string{Polling}})
	if up := f.poll().open.Upgrades; len(up) != 0 {
		t.Errorf("upgrades %v", up)
	}
	if got := f.raw(upgradeRequest("?EIO=4&transport=websocket", "Connection", "close, Upgrade")); !strings.HasSuffix(got, refused(0)) {
		t.Errorf("%q", got)
	}
	f = serve(t, Options{Transports: []string{WebSocket}})
	if status, body, _ := f.do("GET", "?EIO=4&transport=polling", ""); status != 400 || body != refused(0) {
		t.Errorf("%d %q", status, body)
	}
	f.open()
}

func TestOpenPacket(t *testing.T) {
	everything := []string{WebTransport, WebSocket, Polling}
	tests := []struct {
		name    string
		options Options
		tail    string
	}{
		{"default", Options{}, `,"upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`},
		{"all transports", Options{Transports: everything}, `,"upgrades":["websocket","webtransport"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`},
		{"no upgrades", Options{DisableUpgrades: true}, `,"upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`},
		{"limits", Options{PingInterval: 300 * time.Second, PingTimeout: 200 * time.Second, MaxHTTPBufferSize: 5},
			`,"upgrades":["websocket"],"pingInterval":300000,"pingTimeout":200000,"maxPayload":5}`},
		{"initial packet", Options{InitialPacket: transport.TextMessage("yo")},
			`,"upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}` + "\x1e4yo"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.OnSession = func(s *Session) Handler {
				_ = s.Send(transport.TextMessage("first"))
				return newEcho(s)
			}
			f := serve(t, tt.options)
			_, body, _ := f.do("GET", "?EIO=4&transport=polling", "")
			sid := f.server.Sessions()[0].ID()
			if want := `0{"sid":"` + sid + `"` + tt.tail; body != want {
				t.Errorf("%s, want %s", body, want)
			}
			p := poller{f: f, query: "?EIO=4&transport=polling&sid=" + sid}
			p.wantGet(200, "4first")

			s, open := f.open()
			if len(open.Upgrades) != 0 {
				t.Errorf("upgrades %v", open.Upgrades)
			}
			if tt.options.InitialPacket != nil {
				s.want("4yo")
			}
			s.want("4first")
		})
	}
}

func TestNewServerErrors(t *testing.T) {
	on := func(s *Session) Handler { return newEcho(s) }
	for name, o := range map[string]*Options{
		"nil":                {},
		"no OnSession":       {Path: "/x"},
		"negative interval":  {OnSession: on, PingInterval: -1},
		"negative size":      {OnSession: on, MaxHTTPBufferSize: -1},
		"unknown transport":  {OnSession: on, Transports: []string{"carrier pigeon"}},
		"unshared message":   {OnSession: on, InitialPacket: transport.NewMessage()},
		"negative loops":     {OnSession: on, Loops: -1},
		"negative max queue": {OnSession: on, MaxQueuedBytes: -1},
	} {
		if _, err := NewServer(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewServer(nil); err == nil {
		t.Error("no error")
	}
}

func TestRequest(t *testing.T) {
	f := serve(t, Options{Value: func(r *http.Request) any { return r.Header.Get("X-Who") }})
	f.do("GET", "?EIO=4&transport=polling&a=1&a=2&b=%C3%A9+%2&", "", "X-Who", "me", "Origin", "http://x")
	s := f.session().s
	r := s.Request()
	if url := "/engine.io/?EIO=4&transport=polling&a=1&a=2&b=%C3%A9+%2&"; r.URL() != url || r.HTTP().URL.String() != url {
		t.Errorf("URL %q", r.URL())
	}
	if got := fmt.Sprint(r.Query()); got != "map[EIO:4 a:2 b:é %2 transport:polling]" {
		t.Errorf("query %s", got)
	}
	if h := r.Header(); h.Get("x-who") != "me" || h.Get("Origin") != "http://x" {
		t.Errorf("header %v", h)
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr()); err != nil || host != "127.0.0.1" {
		t.Errorf("remote address %q", r.RemoteAddr())
	}
	if r.Host() != f.http.Listener.Addr().String() || r.Secure() || time.Since(r.Issued()) > time.Minute {
		t.Errorf("host %q, secure %v, issued %v", r.Host(), r.Secure(), r.Issued())
	}
	if again := r.HTTP(); again.Host != r.Host() || again.RemoteAddr != r.RemoteAddr() || again.Header.Get("X-Who") != "me" || again.TLS != nil {
		t.Errorf("request %+v", again)
	}
	if s.Value() != "me" {
		t.Errorf("value %v", s.Value())
	}
}

// A fragment, which no client should send, has no meaning.
func TestFragments(t *testing.T) {
	f := serve(t, Options{})
	for target, status := range map[string]string{
		"?EIO=4&transport=polling#x": "200 OK",
		"?EIO=4&transport=polling#":  "200 OK",
		"?EIO=4#&transport=polling":  "400 Bad Request",
		"#?EIO=4&transport=polling":  "400 Bad Request",
	} {
		got := f.raw("GET /engine.io/" + target + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 "+status) {
			t.Errorf("%s: %q", target, got)
		}
	}
	if got := (<-f.sessions).s.Request().Query()["transport"]; got != "polling" {
		t.Errorf("transport %q", got)
	}
	conn, err := f.dialNet(t.Context(), "tcp", f.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, upgradeRequest("?EIO=4&transport=websocket#x"))
	if b, err := bufio.NewReader(conn).Peek(12); err != nil || string(b) != "HTTP/1.1 101" {
		t.Errorf("a handshake: %q, %v", b, err)
	}
}
