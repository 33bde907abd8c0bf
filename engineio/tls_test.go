package engineio

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTLS serves polling over HTTP/2 and WebSocket over TLS.
func TestTLS(t *testing.T) {
	f := serve(t, Options{MaxHTTPBufferSize: 1000})
	secure := httptest.NewUnstartedServer(f.server)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(func() {
		f.server.Close()
		secure.Close()
	})
	plain := f.http
	f.http = secure
	t.Cleanup(func() { f.http = plain })

	p := f.poll()
	e := f.session()
	if !e.s.Request().Secure() || e.s.Request().HTTP().TLS == nil {
		t.Error("the session is not secure")
	}
	answer := p.park()
	p.wantPost("4a", 200, "ok")
	want(t, answer, "200 4a")
	p.wantPost(strings.Repeat("a", 100000), 413, "")
	e.expect(t, TransportError, "payload too large")
	p = f.poll()
	e = f.session()
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", secure.URL+path+p.query, nil)
	done := make(chan error)
	go func() {
		_, err := secure.Client().Do(r)
		done <- err
	}()
	eventually(t, "the GET waits", e.s.Writable)
	cancel()
	<-done
	e.expect(t, TransportError, "poll connection closed prematurely")

	sock, _ := f.open()
	sock.write("4c")
	sock.want("4c")
	f.session().s.Close()
	sock.wantClose("")
}
