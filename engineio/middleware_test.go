package engineio

import (
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestMiddlewareCallsNextTwice uses middleware that makes the mistake of calling next twice. The request is served once.
func TestMiddlewareCallsNextTwice(t *testing.T) {
	twice := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			next.ServeHTTP(w, r)
		})
	}
	f := serve(t, Options{})
	f.server.Use(twice)
	f.server.Use(twice)
	p := f.poll()
	e := f.session()
	answer := p.park()
	p.wantPost("4a", 200, "ok")
	want(t, answer, "200 4a")
	for i := range 3 {
		p.wantPost("4b", 200, "ok")
		p.wantGet(200, "4b")
		if n := f.server.ClientsCount(); n != 1 {
			t.Fatalf("%d sessions after round %d", n, i)
		}
	}
	if status, body, _ := f.do("GET", "?EIO=4&transport=polling&sid=none", ""); status != 400 || body != refused(CodeUnknownSession) {
		t.Errorf("%d %q", status, body)
	}
	upgraded := p.upgrade()
	upgraded.write("4c")
	upgraded.want("4c")
	e.s.Close()
	upgraded.wantClose("")

	s, _ := f.open()
	s.write("4d")
	s.want("4d")
	f.session().s.Close()
	s.wantClose("")
	if n := f.server.Stats().Refused; n != 1 {
		t.Errorf("%d requests were refused", n)
	}
}

// TestMiddlewarePanics checks that requests fail whose middleware panics, before or after it calls the next handler.
func TestMiddlewarePanics(t *testing.T) {
	f := serve(t, Options{})
	f.server.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.Header.Get("Panic") {
			case "before":
				panic("for the test")
			case "abort":
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
			if r.Header.Get("Panic") == "after" {
				panic("for the test")
			}
		})
	})
	if status, body, _ := f.do("GET", handshake, "", "Panic", "before"); status != 400 || body != refused(CodeBadRequest) {
		t.Errorf("%d %q", status, body)
	}
	if _, _, _, err := f.try("GET", handshake, strings.NewReader(""), "Panic", "abort"); err == nil {
		t.Error("a request whose middleware aborts is answered")
	}
	if got := f.raw(upgradeRequest("?EIO=4&transport=websocket", "Panic", "before")); got != rawRefusal("Bad request") {
		t.Errorf("%q", got)
	}
	if n := f.server.ClientsCount(); n != 0 {
		t.Errorf("%d sessions", n)
	}
	p := f.poll()
	p.wantPost("4a", 200, "ok")
	// net/http closes the connection then, so the client must not use it again.
	if status, body, _ := f.do("GET", p.query, "", "Panic", "after", "Connection", "close"); status != 200 || !strings.HasPrefix(body, "4a") {
		t.Errorf("%d %q", status, body)
	}
	p.wantPost("4b", 200, "ok")
	p.wantGet(200, "4b")
}

// TestUseDuringUse adds middleware from inside a middleware's constructor, and from many goroutines at once.
func TestUseDuringUse(t *testing.T) {
	f := serve(t, Options{})
	var made, passed sync.Map
	var wg sync.WaitGroup
	add := func(name string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			if _, again := made.LoadOrStore(name, true); again {
				t.Errorf("middleware %s is made twice", name)
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				passed.Store(name, true)
				next.ServeHTTP(w, r)
			})
		}
	}
	f.server.Use(func(next http.Handler) http.Handler {
		f.server.Use(add("inner"))
		return add("outer")(next)
	})
	for _, name := range strings.Split("abcdefgh", "") {
		wg.Go(func() { f.server.Use(add(name)) })
	}
	wg.Wait()
	f.poll()
	made.Range(func(name, _ any) bool {
		if _, ok := passed.Load(name); !ok {
			t.Errorf("the request has not passed middleware %v", name)
		}
		return true
	})
}
