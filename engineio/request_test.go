package engineio

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// browserHead is a request like a browser's. client distinguishes clients.
func browserHead(client int) *http.Request {
	return &http.Request{
		RequestURI: "/engine.io/?EIO=4&transport=websocket",
		RemoteAddr: fmt.Sprintf("203.0.113.%d:%d", client%256, 1024+client),
		Host:       "chat.example",
		Header: http.Header{
			"Accept-Encoding":          {"gzip, deflate, br"},
			"Accept-Language":          {"en-US,en;q=0.9"},
			"Cache-Control":            {"no-cache"},
			"Connection":               {"Upgrade"},
			"Origin":                   {"https://chat.example"},
			"Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits"},
			"Sec-Websocket-Key":        {fmt.Sprintf("%020d0w==", client)},
			"Sec-Websocket-Version":    {"13"},
			"Upgrade":                  {"websocket"},
			"User-Agent":               {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"},
		},
	}
}

func sameRequest(t *testing.T, got Request, id string, want *http.Request) {
	t.Helper()
	target := want.RequestURI
	if target == "" {
		target = want.URL.RequestURI()
	}
	header := maps.Clone(want.Header)
	maps.DeleteFunc(header, func(_ string, values []string) bool { return len(values) == 0 })
	if got.id() != id || got.RemoteAddr() != want.RemoteAddr || got.URL() != target || got.Host() != want.Host ||
		got.Secure() != (want.TLS != nil) || !maps.EqualFunc(got.Header(), header, slices.Equal) {
		t.Errorf("%q %q %q %q %v %q, want %q and %+v", got.id(), got.RemoteAddr(), got.URL(), got.Host(), got.Secure(), got.Header(), id, want)
	}
}

func TestRequestIsKept(t *testing.T) {
	tests := map[string]*http.Request{
		"browser":           browserHead(7),
		"nothing":           {URL: &url.URL{Path: "/"}},
		"IPv6":              {RequestURI: "/", RemoteAddr: "[2001:db8::1]:65535"},
		"IPv6 for IPv4":     {RequestURI: "/", RemoteAddr: "[::ffff:203.0.113.1]:80"},
		"zone":              {RequestURI: "/", RemoteAddr: "[fe80::1%eth0]:80"},
		"without a port":    {RequestURI: "/", RemoteAddr: "203.0.113.1"},
		"odd port":          {RequestURI: "/", RemoteAddr: "203.0.113.1:080"},
		"Unix socket":       {RequestURI: "/", RemoteAddr: "@"},
		"TLS":               {URL: &url.URL{Path: "/"}, TLS: new(tls.ConnectionState)},
		"repeated fields":   {RequestURI: "/", Header: http.Header{"X": {"b", "a", "", "b"}, "Y": {}}},
		"line breaks":       {RequestURI: "/\n", Header: http.Header{"X": {"a\nb:c"}, "Y": {"t\x01/"}}},
		"long":              {RequestURI: "/?" + strings.Repeat("x", 70_000), Header: http.Header{"X": {strings.Repeat("y", 300)}}},
		"key without sense": {RequestURI: "/", Header: http.Header{keyName: {"dGhlIHNhbXBsZSBub25jZR=="}}},
		"short key":         {RequestURI: "/", Header: http.Header{keyName: {"dGhlIHNhbXBsZQ=="}}},
		"two keys":          {RequestURI: "/", Header: http.Header{keyName: {"dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="}}},
		"many fields":       {RequestURI: "/", Header: http.Header{}},
	}
	for i := range 100 {
		tests["many fields"].Header[fmt.Sprintf("X-%d", i)] = []string{fmt.Sprint(i)}
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			known := newFrequent()
			for i := range often + 2 { // at first everything is its own, then shared
				id := fmt.Sprint("id", i)
				sameRequest(t, newRequest(id, r, known), id, r)
			}
		})
	}
}

func TestRequestsShareWhatIsFrequent(t *testing.T) {
	known := newFrequent()
	var last Request
	for i := range 1000 {
		r := browserHead(i)
		r.Header.Set("Cookie", fmt.Sprintf("session=%d", i))
		request := newRequest("abcdefghijklmnopqrst", r, known)
		sameRequest(t, request, "abcdefghijklmnopqrst", r)
		if i > often && request.shared != last.shared {
			t.Fatalf("request %d shares %q, the one before %q", i, request.shared.Value(), last.shared.Value())
		}
		last = request
	}
	if n := len(last.own); n > 48+len("fCookie:session=999")+2 {
		t.Errorf("%d bytes are not shared: %q", n, last.own)
	}
}

// A client that makes every request different gains nothing, but does not take from the others.
func TestFrequentLinesSurvive(t *testing.T) {
	known := newFrequent()
	for i := range 50_000 {
		if known.add("Cookie", fmt.Sprint(i)) {
			t.Fatalf("cookie %d is said to be frequent", i)
		}
		for n := range 10 {
			if got := known.add("X", fmt.Sprint(n)); i > 10*often && !got {
				t.Fatalf("line %d is forgotten after %d cookies", n, i)
			}
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("id", "127.0.0.1:1", "/?EIO=4", "host", "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "")
	f.Add("", "", "/", "", "X", "a", "\x80\xff")
	f.Add("abcdefghijklmnopqrst", "[::1]:443", "/", "", "X", "a", "")
	f.Fuzz(func(t *testing.T, id, address, target, host, name, value, other string) {
		if target == "" || strings.Contains(name, ":") {
			return // not a result of net/http
		}
		r := &http.Request{RequestURI: target, RemoteAddr: address, Host: host, Header: http.Header{name: {value}}}
		if other != "" {
			r.Header[name] = append(r.Header[name], other)
		}
		known := newFrequent()
		for range often + 1 {
			sameRequest(t, newRequest(id, r, known), id, r)
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	known, r := newFrequent(), browserHead(1)
	b.ReportAllocs()
	for b.Loop() {
		newRequest("abcdefghijklmnopqrst", r, known)
	}
}

func TestRequestKeepsTheTime(t *testing.T) {
	before := time.Now().Truncate(time.Millisecond)
	r := newRequest("id", browserHead(1), newFrequent())
	if got := r.Issued(); got.Before(before) || got.After(time.Now()) {
		t.Errorf("issued at %v, which is not between %v and now", got, before)
	}
}
