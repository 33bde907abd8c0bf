package engineio

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

const handshake = "?EIO=4&transport=polling"

func wantHeader(t *testing.T, h http.Header, fields map[string]string) {
	t.Helper()
	for name, want := range fields {
		if got := strings.Join(h.Values(name), "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestPollingHeaders(t *testing.T) {
	f := serve(t, Options{})
	_, body, h := f.do("GET", handshake, "")
	poll := map[string]string{"Content-Type": "text/plain; charset=UTF-8", "Cache-Control": "no-store", "Set-Cookie": "", "X-Xss-Protection": "", "Access-Control-Allow-Origin": "", "Vary": ""}
	wantHeader(t, h, poll)
	query := handshake + "&sid=" + parseOpen(t, body).SID
	_, _, h = f.do("POST", query, "4€")
	wantHeader(t, h, map[string]string{"Content-Type": "text/html", "Content-Length": "2", "Cache-Control": "no-store", "Set-Cookie": ""})
	_, _, h = f.do("GET", query, "")
	wantHeader(t, h, poll)
	wantHeader(t, h, map[string]string{"Content-Length": "4"})
	for agent, want := range map[string]string{
		"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.0; Trident/4.0)": "0",
		"x;MSIE 9": "0", "Mozilla/5.0 Firefox": "", "(compatible; MSIE 7)": "",
	} {
		_, _, h = f.do("POST", query, "4a", "User-Agent", agent)
		wantHeader(t, h, map[string]string{"X-XSS-Protection": want})
	}
}

func TestCookie(t *testing.T) {
	tests := []struct {
		name   string
		cookie Cookie
		want   string
	}{
		{"default", Cookie{}, "io=SID; Path=/; HttpOnly; SameSite=Lax"},
		{"name and path", Cookie{Name: "woot", Path: "/custom"}, "woot=SID; Path=/custom; HttpOnly; SameSite=Lax"},
		{"no path", Cookie{DisablePath: true, ScriptAccess: true, SameSite: http.SameSiteStrictMode}, "io=SID; SameSite=Strict"},
		{"everything", Cookie{MaxAge: time.Hour, Domain: "a.b", Expires: time.Unix(0, 0), Secure: true, Partitioned: true, Priority: "High", SameSite: http.SameSiteNoneMode},
			"io=SID; Max-Age=3600; Domain=a.b; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; Partitioned; Priority=High; SameSite=None"},
		{"no SameSite", Cookie{MaxAge: -1, SameSite: http.SameSiteDefaultMode}, "io=SID; Max-Age=0; Path=/; HttpOnly"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := serve(t, Options{Cookie: &tt.cookie, GenerateID: func(*http.Request) (string, error) { return "a/b", nil },
				OnInitialHeaders: func(h http.Header, _ *http.Request) { h.Add("Set-Cookie", "mine=1") }})
			_, _, h := f.do("GET", handshake, "")
			wantHeader(t, h, map[string]string{"Set-Cookie": strings.Replace(tt.want, "SID", "a%2Fb", 1) + "|mine=1"})
			_, _, h = f.do("POST", handshake+"&sid=a/b", "4a")
			wantHeader(t, h, map[string]string{"Set-Cookie": ""})
			_, _, h = f.do("GET", handshake, "")
			wantHeader(t, h, map[string]string{"Set-Cookie": ""}) // refused
		})
	}
	f := serve(t, Options{Cookie: new(Cookie)})
	if head := f.head101("?EIO=4&transport=websocket"); head.Get("Set-Cookie") != "" {
		t.Errorf("header %v", head)
	}
}

// head101 returns the header of the answer to a WebSocket handshake.
func (f *fixture) head101(query string, header ...string) http.Header {
	f.t.Helper()
	r, err := http.NewRequest("GET", f.http.URL+path+query, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, line := range strings.Split(upgradeRequest(query, header...), "\r\n")[1:] {
		if name, value, ok := strings.Cut(line, ": "); ok && name != "Host" {
			r.Header.Set(name, value)
		}
	}
	response, err := f.http.Client().Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 101 {
		f.t.Errorf("status %d", response.StatusCode)
	}
	return response.Header
}

func TestHeaderHooks(t *testing.T) {
	initial := 0
	f := serve(t, Options{
		OnInitialHeaders: func(h http.Header, r *http.Request) { initial++; h.Set("X-Initial", "1") },
		OnHeaders:        func(h http.Header, r *http.Request) { h.Set("X-All", "2"); h.Set("Cache-Control", "mine") },
	})
	_, body, h := f.do("GET", handshake, "")
	both := map[string]string{"X-Initial": "1", "X-All": "2", "Cache-Control": "mine"}
	later := map[string]string{"X-Initial": "", "X-All": "2", "Cache-Control": "mine"}
	wantHeader(t, h, both)
	sid := parseOpen(t, body).SID
	_, _, h = f.do("POST", handshake+"&sid="+sid, "4a")
	wantHeader(t, h, later)
	_, _, h = f.do("GET", handshake+"&sid="+sid, "")
	wantHeader(t, h, later)
	wantHeader(t, f.head101("?EIO=4&transport=websocket&sid="+sid), later)
	if initial != 1 {
		t.Errorf("OnInitialHeaders was called %d times", initial)
	}
	wantHeader(t, f.head101("?EIO=4&transport=websocket"), both)
	_, _, h = f.do("GET", "?transport=polling", "")
	wantHeader(t, h, map[string]string{"X-Initial": "", "X-All": ""})
}

func TestMiddleware(t *testing.T) {
	f := serve(t, Options{MaxHTTPBufferSize: 5})
	var order []string
	for _, name := range []string{"first", "second"} {
		f.server.Use(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				order = append(order, name)
				w.Header().Set("X-"+name, "yes")
				next.ServeHTTP(struct{ http.ResponseWriter }{w}, r) // no Unwrap
			})
		})
	}
	p := f.poll()
	if !slices.Equal(order, []string{"first", "second"}) {
		t.Errorf("order %v", order)
	}
	p.wantPost("4too long", 413, "")
	p = f.poll()
	p.wantPost("4a", 200, "ok")
	_, _, h := f.do("GET", p.query, "")
	wantHeader(t, h, map[string]string{"X-First": "yes", "X-Second": "yes"})
	if _, _, h = f.do("GET", "/elsewhere", ""); h.Get("X-First") != "" {
		t.Error("middleware ran for another path")
	}

	f = serve(t, Options{})
	f.server.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Mine", "yes")
			switch r.URL.Query().Get("do") {
			case "end":
				w.WriteHeader(http.StatusServiceUnavailable)
			case "fail":
				f.server.Refuse(w, r, errors.New("oops"))
			default:
				next.ServeHTTP(w, r)
			}
		})
	})
	if status, _, _ := f.do("GET", handshake+"&do=end", ""); status != 503 {
		t.Errorf("status %d", status)
	}
	if status, body, _ := f.do("GET", handshake+"&do=fail", ""); status != 400 || body != refused(3) {
		t.Errorf("%d %q", status, body)
	}
	if got := f.raw(upgradeRequest("?EIO=4&transport=websocket&do=fail")); got != rawRefusal("Bad request") {
		t.Errorf("%q", got)
	}
	if n := f.server.ClientsCount(); n != 0 {
		t.Errorf("%d sessions", n)
	}
	wantHeader(t, f.head101("?EIO=4&transport=websocket"), map[string]string{"X-Mine": "yes"})
}

func TestCORS(t *testing.T) {
	const origin = "Access-Control-Allow-Origin"
	tests := []struct {
		name      string
		cors      *CORS
		from      string
		preflight int
		want      map[string]string // of the preflight request
		actual    map[string]string
	}{
		{"any", &CORS{}, "http://a", 204,
			map[string]string{origin: "*", "Vary": "Access-Control-Request-Headers", "Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE", "Access-Control-Allow-Headers": "my-header", "Content-Length": ""},
			map[string]string{origin: "*", "Vary": "", "Access-Control-Allow-Methods": ""}},
		{"fixed", &CORS{Origin: "http://b"}, "http://a", 204,
			map[string]string{origin: "http://b", "Vary": "Origin, Access-Control-Request-Headers"}, map[string]string{origin: "http://b", "Vary": "Origin"}},
		{"by name", &CORS{AnyOrigin: true, Credentials: true}, "http://a", 204,
			map[string]string{origin: "http://a", "Access-Control-Allow-Credentials": "true"}, map[string]string{origin: "http://a", "Vary": "Origin", "Access-Control-Allow-Credentials": "true"}},
		{"listed", &CORS{Origins: []string{"http://a", "http://b"}}, "http://a", 204, nil, map[string]string{origin: "http://a", "Vary": "Origin"}},
		{"not listed", &CORS{Origins: []string{"http://b"}, Credentials: true}, "http://a", 204, nil, map[string]string{origin: "", "Vary": "Origin", "Access-Control-Allow-Credentials": "true"}},
		{"pattern", &CORS{OriginPatterns: []*regexp.Regexp{regexp.MustCompile(`http://.*\.example`)}}, "http://x.example", 204, nil, map[string]string{origin: "http://x.example"}},
		{"other pattern", &CORS{OriginPatterns: []*regexp.Regexp{regexp.MustCompile(`http://.*\.example`)}}, "http://a", 204, nil, map[string]string{origin: ""}},
		{"everything", &CORS{Methods: []string{"GET", "POST"}, AllowedHeaders: []string{"a", "b"}, ExposedHeaders: []string{"c", "d"}, MaxAge: time.Minute, OptionsSuccessStatus: 200}, "http://a", 200,
			map[string]string{"Access-Control-Allow-Methods": "GET,POST", "Access-Control-Allow-Headers": "a,b", "Access-Control-Expose-Headers": "c,d", "Access-Control-Max-Age": "60", "Vary": "", "Content-Length": "0"},
			map[string]string{"Access-Control-Expose-Headers": "c,d", "Access-Control-Max-Age": ""}},
		{"continue", &CORS{PreflightContinue: true}, "http://a", 400, map[string]string{origin: "*"}, map[string]string{origin: "*"}},
		{"off", nil, "http://a", 400, map[string]string{origin: ""}, map[string]string{origin: "", "Vary": ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, options := range []Options{{CORS: tt.cors}, {CORSFunc: func(*http.Request) (*CORS, error) { return tt.cors, nil }}} {
				f := serve(t, options)
				status, body, h := f.do("OPTIONS", "default/", "", "Origin", tt.from, "Access-Control-Request-Headers", "my-header")
				if status != tt.preflight || status < 300 && body != "" {
					t.Errorf("preflight: %d %q", status, body)
				}
				wantHeader(t, h, tt.want)
				_, _, h = f.do("GET", handshake, "", "Origin", tt.from)
				wantHeader(t, h, tt.actual)
				_, _, h = f.do("GET", "?EIO=4", "", "Origin", tt.from)
				wantHeader(t, h, tt.actual)
				wantHeader(t, f.head101("?EIO=4&transport=websocket", "Origin", tt.from), tt.actual)
			}
		})
	}
	f := serve(t, Options{CORSFunc: func(*http.Request) (*CORS, error) { return nil, errors.New("oops") }})
	if status, body, _ := f.do("GET", handshake, ""); status != 400 || body != refused(3) {
		t.Errorf("%d %q", status, body)
	}
}

func TestCompression(t *testing.T) {
	long, short := strings.Repeat("a", 1100), strings.Repeat("b", 50)
	everything := Options{HTTPCompression: HTTPCompression{Threshold: -1}}
	tests := []struct {
		name     string
		options  Options
		accept   string
		text     string
		no       bool // NoCompress
		encoding string
	}{
		{"gzip", Options{}, "gzip, deflate", long, false, "gzip"},
		{"deflate", Options{}, "deflate", long, false, "deflate"},
		{"client order", Options{}, "deflate, gzip", long, false, "deflate"},
		{"quality", Options{}, "deflate;q=0.4, gzip;q=0.8", long, false, "gzip"},
		{"excluded", Options{}, "gzip;q=0, *;q=0.1", long, false, "deflate"},
		{"wildcard", Options{}, "*", long, false, "gzip"},
		{"upper case", Options{}, "GZIP", long, false, "gzip"},
		{"short", Options{}, "gzip", short, false, ""},
		{"threshold", Options{HTTPCompression: HTTPCompression{Threshold: 50}}, "gzip", short, false, "gzip"},
		{"everything", everything, "gzip", "a", false, "gzip"},
		{"disabled", Options{HTTPCompression: HTTPCompression{Disabled: true}}, "gzip", long, false, ""},
		{"not wanted", Options{}, "gzip", long, true, ""},
		{"identity", Options{}, "identity", long, false, ""},
		{"br", Options{}, "br", long, false, ""},
		{"x-gzip", Options{}, "x-gzip", long, false, ""},
		{"empty", Options{}, "", long, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := serve(t, tt.options)
			_, body, _ := f.do("GET", handshake, "", "Accept-Encoding", "identity")
			sid := parseOpen(t, body).SID
			m := transport.NewMessage()
			m.SetText(append(m.Buffer(), tt.text...))
			m.NoCompress = tt.no
			_ = f.session().s.Send(m)
			m.Release()
			_, body, h := f.do("GET", handshake+"&sid="+sid, "", "Accept-Encoding", tt.accept)
			wantHeader(t, h, map[string]string{"Content-Encoding": tt.encoding, "Vary": "", "Content-Type": "text/plain; charset=UTF-8"})
			if length := h.Get("Content-Length"); tt.encoding == "" && length == "" {
				t.Error("no Content-Length")
			}
			if got := decompress(t, tt.encoding, body); got != "4"+tt.text {
				t.Errorf("body %.20q", got)
			}
		})
	}
}

func decompress(t *testing.T, encoding, body string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	var err error
	switch encoding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOriginPatterns uses origins that look like allowed ones.
func TestOriginPatterns(t *testing.T) {
	const name = `https://example\.com`
	tests := []struct {
		pattern, origin string
		want            bool
	}{
		{name, "https://example.com", true},
		{name, "https://example.com.attacker.net", false},
		{name, "https://example.com:8443", false},
		{name, "https://example.com@attacker.net", false},
		{name, "https://attacker.net/https://example.com", false},
		{name, "https://example.com\n", false},
		{`^` + name + `$`, "https://example.com", true},
		{`(?m)^` + name + `$`, "https://example.com\nhttps://attacker.net", false},
		{`(?i)` + name, "HTTPS://EXAMPLE.COM", true},
		{`example\.com`, "https://example.com", false},
		{`\.example\.com$`, "https://a.example.com", false},
		{`https://.*\.example\.com`, "https://a.example.com", true},
		{name + `|` + name + `\.org`, "https://example.com.org", true},
		{name + `|https://b`, "https://example.com", true},
		{name + `|https://b`, "https://bc", false},
		{``, "https://example.com", false},
	}
	for _, tt := range tests {
		c := &CORS{OriginPatterns: []*regexp.Regexp{regexp.MustCompile(tt.pattern)}}
		if got := c.allows(tt.origin); got != tt.want {
			t.Errorf("pattern %q, origin %q: allowed is %v", tt.pattern, tt.origin, got)
		}
	}
}
