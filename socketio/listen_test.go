package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/myriad-rt/myriad/socketio"
)

// Responses do not depend on whether the server uses its own listener.
func TestOwnListenerAnswersAsHTTP(t *testing.T) {
	head := func(line string, fields ...string) string {
		return line + " HTTP/1.1\r\nHost: a\r\n" + strings.Join(append(fields, "\r\n"), "\r\n")
	}
	field := func(fields ...string) string { return strings.Join(fields, "\r\n") }
	requests := map[string]string{
		"handshake":            head("GET " + pollingPath),
		"handshake, close":     head("GET "+pollingPath, "Connection: keep-alive, Close"),
		"handshake, gzip":      head("GET "+pollingPath, "Accept-Encoding: gzip", "User-Agent: x;MSIE 9"),
		"handshake, origin":    head("GET "+pollingPath, "Origin: http://b", "Cookie: a=b", "cookie: c=d"),
		"unknown transport":    head("GET /socket.io/?EIO=4&transport=x"),
		"unknown session":      head("GET " + pollingPath + "&sid=x"),
		"POST without session": head("POST "+pollingPath, "Content-Length: 2") + "40",
		"POST, unknown":        head("POST "+pollingPath+"&sid=x", "Content-Length: 2") + "40",
		"POST without length":  head("POST " + pollingPath),
		"POST, chunks":         head("POST "+pollingPath, "Transfer-Encoding: chunked") + "2\r\n40\r\n0\r\n\r\n",
		"POST, expects":        head("POST "+pollingPath, "Expect: 100-continue", "Content-Length: 0"),
		"POST, too large":      head("POST "+pollingPath+"&sid=x", "Content-Length: 20000") + strings.Repeat("x", 20000),
		"GET with a body":      head("GET "+pollingPath+"&sid=x", "Content-Length: 2") + "40",
		"preflight":            head("OPTIONS "+pollingPath, "Origin: http://b", "Access-Control-Request-Headers: x-a"),
		"HEAD":                 head("HEAD " + pollingPath),
		"PUT":                  head("PUT " + pollingPath),
		"client file":          head("GET /socket.io/socket.io.js.map", "Range: bytes=0-9"),
		"other path":           head("GET /other"),
		"path below":           head("GET /socket.io/x?EIO=4&transport=polling"),
		"escaped path":         head("GET /socket%2eio/?EIO=4&transport=polling"),
		"refused":              head("GET "+pollingPath, "X-Refuse: 1"),
		"panic":                head("GET "+pollingPath, "X-Panic: 1"),
		"large head":           head("GET "+pollingPath, "X: "+strings.Repeat("x", 15000)),
		"too large a head":     head("GET "+pollingPath, "X: "+strings.Repeat("x", 20000)),
		"HTTP/1.0":             "GET " + pollingPath + " HTTP/1.0\r\n\r\n",
		"no host":              "GET " + pollingPath + " HTTP/1.1\r\n\r\n",
		"two lengths":          head("POST "+pollingPath, "Content-Length: 2", "Content-Length: 3") + "40",
		"length and chunks":    head("POST "+pollingPath, "Content-Length: 2", "Transfer-Encoding: chunked") + "2\r\n40\r\n0\r\n\r\n",
		"odd length":           head("POST "+pollingPath, "Content-Length: +2") + "40",
		"folded":               head("GET "+pollingPath, "X: 1", " 2"),
		"space before colon":   head("GET "+pollingPath, "Content-Length : 2"),
		"line feeds":           "GET " + pollingPath + " HTTP/1.1\nHost: a\n\n",
		"line feed":            "GET " + pollingPath + " HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
		"nonsense":             field("nonsense", "", ""),
		"fragment":             head("GET " + pollingPath + "#x"),
		"empty fragment":       head("GET " + pollingPath + "#"),
		"only a fragment":      head("GET /socket.io/#?EIO=4&transport=polling"),
		"line behind a body":   head("POST "+pollingPath, "Content-Length: 2") + "40\r\n",
		"two requests":         head("GET "+pollingPath) + head("GET "+pollingPath),
		"POST, then GET":       head("POST "+pollingPath+"&sid=x", "Content-Length: 2") + "40" + head("GET "+pollingPath),
		"old protocol":         head("GET /socket.io/?EIO=3&transport=polling"),
	}
	handshake := func(target string, fields ...string) string {
		return head("GET "+target, append(fields, handshakeFields)...)
	}
	const webSocketPath = "/socket.io/?EIO=4&transport=websocket"
	for name, request := range map[string]string{
		"plain":         handshake(webSocketPath),
		"other case":    handshake(webSocketPath, "connection: x", "ORIGIN: http://b", "Cookie: a=b"),
		"fragment":      handshake(webSocketPath + "#x"),
		"transport":     handshake("/socket.io/?EIO=4&transport=x"),
		"session":       handshake(webSocketPath + "&sid=x"),
		"other path":    handshake("/other"),
		"refused":       handshake(webSocketPath, "X-Refuse: 1"),
		"panic":         handshake(webSocketPath, "X-Panic: 1"),
		"protocol":      handshake(webSocketPath, "Sec-WebSocket-Protocol: a, b"),
		"bad protocol":  handshake(webSocketPath, "Sec-WebSocket-Protocol: a b"),
		"bad version":   strings.Replace(handshake(webSocketPath), "Version: 13", "Version: 7", 1),
		"bad key":       strings.Replace(handshake(webSocketPath), "ZQ==", "", 1),
		"other upgrade": strings.Replace(handshake(webSocketPath), "websocket\r\nSec", "h2c\r\nSec", 1),
		"POST":          strings.Replace(handshake(webSocketPath), "GET", "POST", 1),
		"body":          handshake(webSocketPath, "Content-Length: 2") + "40",
		"no host":       strings.Replace(handshake(webSocketPath), "Host: a\r\n", "", 1),
		"empty host":    strings.Replace(handshake(webSocketPath), "Host: a", "Host:", 1),
		"odd host":      strings.Replace(handshake(webSocketPath), "Host: a", "Host: a b<c>", 1),
		"two hosts":     handshake(webSocketPath, "Host: b"),
		"HTTP/1.0":      strings.Replace(handshake(webSocketPath), "HTTP/1.1", "HTTP/1.0", 1),
		"HTTP/2.0":      strings.Replace(handshake(webSocketPath), "HTTP/1.1", "HTTP/2.0", 1),
		"long head":     handshake(webSocketPath, "X: "+strings.Repeat("x", 15000)),
		"too long":      handshake(webSocketPath, "X: "+strings.Repeat("x", 20000)),
		"folded":        handshake(webSocketPath, "X: 1", " 2"),
		"line feeds":    strings.ReplaceAll(handshake(webSocketPath), "\r", ""),
	} {
		requests["WebSocket, "+name] = request
	}
	simple := socketio.Options{MaxHTTPBufferSize: 10_000}
	full := socketio.Options{
		MaxHTTPBufferSize: 10_000,
		CORS:              &socketio.CORS{Origin: "http://b", Credentials: true, ExposedHeaders: []string{"X"}},
		Cookie:            &socketio.Cookie{Name: "io"},
		HTTPCompression:   socketio.HTTPCompression{Threshold: 1},
		GenerateID:        func(*http.Request) (string, error) { return strconv.FormatUint(rand.Uint64()|1<<63, 36), nil },
		OnHeaders:         func(h http.Header, _ *http.Request) { h.Set("X-Set", "a\r\nb") },
		AllowRequest: func(r *http.Request) error {
			if r.Header.Get("X-Panic") != "" {
				panic("for the test")
			}
			if r.Header.Get("X-Refuse") != "" {
				return errors.New("refused")
			}
			return nil
		},
	}
	for kind, options := range map[string]*socketio.Options{"simple": &simple, "full": &full} {
		inner := httptest.NewUnstartedServer(newServer(t, options))
		inner.Config.MaxHeaderBytes = 12 << 10 // and 4 KiB that net/http adds
		inner.Start()
		t.Cleanup(inner.Close)
		addresses := [2]string{inner.URL, serveItself(t, newServer(t, options))}
		for name, request := range requests {
			t.Run(kind+"/"+name, func(t *testing.T) {
				var got [2]string
				for i, address := range addresses {
					got[i] = exchange(t, address, request)
				}
				if got[0] != got[1] {
					t.Errorf("through http.Handler:\n%s\nthrough Serve:\n%s", got[0], got[1])
				}
			})
		}
	}
}

// exchange describes the response to a request, without the parts that vary.
func exchange(t *testing.T, address, request string) string {
	t.Helper()
	c := dialHTTP(t, address)
	c.send(request)
	method, _, _ := strings.Cut(request, " ")
	res, body, err := c.answer(method)
	if err != nil {
		return "no answer"
	}
	for _, changing := range []string{"Date", "Set-Cookie"} {
		if _, there := res.Header[changing]; there {
			res.Header.Set(changing, "x")
		}
	}
	if sid := gjson.Get(strings.TrimPrefix(body, "0"), "sid").String(); sid != "" {
		body = strings.Replace(body, sid, "x", 1)
	}
	// A compressed body ends in a checksum, which depends on the session id.
	if res.Header.Get("Content-Encoding") != "" {
		body = ""
		res.Header.Del("Content-Length")
		res.TransferEncoding = nil
	}
	after := "closed"
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		after = "upgraded"
	case !res.Close:
		c.open()
		after = "used again"
	}
	return fmt.Sprint(res.Status, res.Header, res.TransferEncoding, res.Close, body, after)
}

func TestPollsInPieces(t *testing.T) {
	server := newServer(t, nil)
	server.On("echo", func(e *socketio.Event) { _ = e.Socket().Emit("echo", e.Args().Values()...) })
	address := serveItself(t, server)
	for _, size := range []int{1, 7, 100, 4096} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			c := dialHTTP(t, address)
			c.sendSplit("GET "+pollingPath+" HTTP/1.1\r\nHost: a\r\n\r\n", size)
			_, body, err := c.answer("GET")
			if err != nil {
				t.Fatal(err)
			}
			c.sid = gjson.Get(body[1:], "sid").String()
			text := strings.Repeat("é", 5*size)
			c.sendSplit(c.post("40")+c.get(), size)
			c.want("ok")
			if _, body, err := c.answer("GET"); err != nil || !strings.HasPrefix(body, "40{") {
				t.Fatalf("answer to CONNECT: %q, %v", body, err)
			}
			c.sendSplit(c.post(`42["echo","`+text+`"]`)+c.get(), size)
			c.want("ok")
			c.want(`42["echo","` + text + `"]`)
		})
	}
}

// A POST behind a poll that waits is received at once, so that both can be answered.
func TestPostBehindAPoll(t *testing.T) {
	server := newServer(t, nil)
	server.On("echo", func(e *socketio.Event) { _ = e.Socket().Emit("echo") })
	c := dialHTTP(t, serveItself(t, server)).open()
	c.send(c.get() + c.post("40"))
	if _, body, err := c.answer("GET"); err != nil || !strings.HasPrefix(body, `40{"sid":`) {
		t.Fatalf("answer to CONNECT: %q, %v", body, err)
	}
	c.want("ok")
	for range 3 {
		c.send(c.get() + c.post(`42["echo"]`))
		c.want(`42["echo"]`)
		c.want("ok")
	}
}

// Requests behind a poll that waits are answered after it, in order.
func TestPipelinedPolls(t *testing.T) {
	server := newServer(t, nil)
	var mu sync.Mutex
	var got []int
	socketio.On(server, "n", func(_ *socketio.Socket, n int) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, n)
	})
	c := dialHTTP(t, serveItself(t, server)).join()
	c.poll(server)
	const posts = 100
	var all strings.Builder
	for i := range posts {
		all.WriteString(c.post(fmt.Sprintf(`42["n",%d]`, i)))
	}
	c.send(all.String() + c.get() + c.get())
	if err := server.Emit("first"); err != nil {
		t.Fatal(err)
	}
	c.want(`42["first"]`)
	for range posts {
		c.want("ok")
	}
	for _, event := range []string{"second", "third"} {
		session := server.Engine().Session(c.sid)
		eventually(t, "the next poll waits", session.Writable)
		_ = server.Emit(event)
		c.want(`42["` + event + `"]`)
	}
	eventually(t, "all events have come", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == posts
	})
	for i, n := range got {
		if n != i {
			t.Fatalf("event %d is %d", i, n)
		}
	}
}

func TestClientOfAPollGoes(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"closes":          func(c *net.TCPConn) { c.Close() },
		"resets":          func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() },
		"closes its side": func(c *net.TCPConn) { _ = c.CloseWrite() },
		"closes its side behind another request": func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n")
			_ = c.CloseWrite()
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, nil)
			reasons := make(chan socketio.DisconnectReason, 1)
			server.OnDisconnect(func(_ *socketio.Socket, r socketio.DisconnectReason) { reasons <- r })
			c := dialHTTP(t, serveItself(t, server)).join().poll(server)
			leave(c.conn.(*net.TCPConn))
			if r := receive(t, reasons); r != socketio.TransportError {
				t.Errorf("reason: %q", r)
			}
		})
	}
}

func TestClientOfAPostGoes(t *testing.T) {
	server := newServer(t, nil)
	reasons := make(chan socketio.DisconnectReason, 1)
	server.OnDisconnect(func(_ *socketio.Socket, r socketio.DisconnectReason) { reasons <- r })
	address := serveItself(t, server)
	c := dialHTTP(t, address).join()
	c.send(strings.TrimSuffix(c.post(`42["x"]`), "]"))
	c.conn.Close()
	if r := receive(t, reasons); r != socketio.TransportError {
		t.Errorf("reason: %q", r)
	}
}

// A POST that is being received is cut off when the session ends.
func TestSessionEndsDuringAPost(t *testing.T) {
	server := newServer(t, nil)
	address := serveItself(t, server)
	c := dialHTTP(t, address).join()
	c.send(strings.TrimSuffix(c.post(`42["x"]`), "]"))
	second := c.also(address)
	eventually(t, "the POST is being received", func() bool {
		second.send(second.post("3")) // overlaps
		_, body, err := second.answer("POST")
		return err == nil && body != "ok"
	})
	c.wantEnd()
}

func TestOverlappingPolls(t *testing.T) {
	server := newServer(t, nil)
	address := serveItself(t, server)
	c := dialHTTP(t, address).join().poll(server)
	second := c.also(address)
	second.send(second.get())
	if res, _, err := second.answer("GET"); err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("the second poll: %v, %v", res, err)
	}
	c.want("1")
	c.open() // the connection can be used again
}

// A client that reads a response slowly gets all of it, and delays no other client.
func TestSlowReader(t *testing.T) {
	const size = 8 << 20
	server := newServer(t, &socketio.Options{HTTPCompression: socketio.HTTPCompression{Disabled: true}})
	address := serveItself(t, server)
	slow := dialHTTP(t, address)
	_ = slow.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	slow.join().poll(server)
	quick := dialHTTP(t, address).join().poll(server)
	if err := server.Emit("large", strings.Repeat("x", size)); err != nil {
		t.Fatal(err)
	}
	quick.want(`42["large","` + strings.Repeat("x", size) + `"]`)
	for range 10 {
		quick.poll(server)
		_ = server.Emit("small")
		_, _, err := quick.answer("GET")
		if err != nil {
			t.Fatal(err)
		}
	}
	slow.want(`42["large","` + strings.Repeat("x", size) + `"]`)
	slow.send(slow.get())
	if _, body, err := slow.answer("GET"); err != nil || !strings.HasPrefix(body, `42["small"]`) {
		t.Errorf("after the large answer: %.100q, %v", body, err)
	}
}

// Functions of the application see requests as net/http would show them.
func TestOwnRequestsHaveAContext(t *testing.T) {
	type seen struct {
		remote, host, target, cookie string
		err                          error
	}
	requests := make(chan seen, 1)
	entered := make(chan struct{}, 1)
	server := newServer(t, &socketio.Options{AllowRequest: func(r *http.Request) error {
		if r.Header.Get("X-Wait") == "" {
			return nil
		}
		entered <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-time.After(patience):
		}
		requests <- seen{r.RemoteAddr, r.Host, r.RequestURI, r.Header.Get("Cookie"), r.Context().Err()}
		return nil
	}})
	address := serveItself(t, server)
	dialHTTP(t, address).open()
	c := dialHTTP(t, address)
	c.send("GET " + pollingPath + " HTTP/1.1\r\nHost: a.example\r\nX-Wait: 1\r\nCookie: a=b\r\n\r\n")
	receive(t, entered)
	dialHTTP(t, address).open() // other clients are not delayed
	c.conn.Close()
	want := seen{c.conn.LocalAddr().String(), "a.example", pollingPath, "a=b", context.Canceled}
	if got := receive(t, requests); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestShutdownWithKeptConnections(t *testing.T) {
	for name, stop := range map[string]func(*socketio.Server) error{
		"Shutdown": func(s *socketio.Server) error { return s.Shutdown(t.Context()) },
		"Close":    (*socketio.Server).Close,
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, &socketio.Options{HTTPCompression: socketio.HTTPCompression{Disabled: true}})
			address := serveItself(t, server)
			const clients = 20
			var parked, idle []*httpClient
			for range clients {
				parked = append(parked, dialHTTP(t, address).join())
				idle = append(idle, dialHTTP(t, address).open())
			}
			partial := dialHTTP(t, address)
			partial.send("GET / HT")
			half := parked[0].also(address)
			half.send(strings.TrimSuffix(half.post(`42["x"]`), "]"))
			for _, c := range parked {
				c.poll(server)
			}
			done := make(chan error, 1)
			go func() { done <- stop(server) }()
			for _, c := range parked {
				c.want("1")
			}
			for _, c := range idle {
				if name == "Shutdown" { // it notifies the clients one by one; a poll may arrive before the client's turn
					c.send(c.get())
					c.want("6\x1e1", "1")
				}
			}
			for _, c := range slices.Concat(parked, idle, []*httpClient{partial, half}) {
				c.wantEnd()
			}
			if err := receive(t, done); err != nil {
				t.Error(err)
			}
		})
	}
}

// Answers that are being taken are waited for.
func TestShutdownWaitsForAnswers(t *testing.T) {
	const size = 8 << 20
	server := newServer(t, &socketio.Options{HTTPCompression: socketio.HTTPCompression{Disabled: true}})
	c := dialHTTP(t, serveItself(t, server))
	_ = c.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	c.join().poll(server)
	_ = server.Emit("large", strings.Repeat("x", size))
	done := make(chan error, 1)
	go func() { done <- server.Close() }()
	c.want(`42["large","` + strings.Repeat("x", size) + `"]`)
	c.wantEnd()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

// Many clients poll, post and leave at once; each gets every event once, and in order.
func TestManyPollingClients(t *testing.T) {
	const clients, events = 30, 40
	server := newServer(t, &socketio.Options{HTTPCompression: socketio.HTTPCompression{Threshold: 64}})
	server.On("n", func(e *socketio.Event) { _ = e.Socket().Emit("n", e.Args().Values()...) })
	address := serveItself(t, server)
	var wait sync.WaitGroup
	for i := range clients {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			c := dialHTTP(t, address).join()
			posts := c.also(address)
			wait.Go(func() {
				for n := range events {
					posts.sendSplit(posts.post(fmt.Sprintf(`42["n",%d]`, n)), 1+random.IntN(200))
					if _, body, err := posts.answer("POST"); err != nil || body != "ok" {
						t.Errorf("POST: %q, %v", body, err)
						return
					}
				}
			})
			for next := 0; next < events; {
				if next%10 == 9 {
					c = c.also(address)
				}
				c.send(c.get())
				_, body, err := c.answer("GET")
				if err != nil {
					t.Errorf("GET: %v", err)
					return
				}
				for p := range strings.SplitSeq(body, "\x1e") {
					if p != fmt.Sprintf(`42["n",%d]`, next) {
						t.Errorf("got %q, want event %d", p, next)
						return
					}
					next++
				}
			}
		})
	}
	for range clients {
		wait.Go(func() {
			c := dialHTTP(t, address).join()
			c.send(c.get())
			c.conn.Close()
		})
	}
	wait.Wait()
}

// As in net/http, a request whose handler panics gets no response.
func TestPanicOfAHandler(t *testing.T) {
	for _, disable := range []bool{false, true} {
		server := newServer(t, &socketio.Options{DisableEpoll: disable, NotFound: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		})})
		c := dialHTTP(t, serveItself(t, server))
		c.send("GET /other HTTP/1.1\r\n" + upgradeFields)
		c.wantEnd()
	}
}
