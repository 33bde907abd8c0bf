package engineio

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestTimeLimitsOfHTTPServer uses requests that wait for longer than the ReadTimeout and WriteTimeout of the application's
// http.Server, over each version of HTTP. A parked GET is answered in the end, and so is a POST that is held back.
func TestTimeLimitsOfHTTPServer(t *testing.T) {
	const limit = 100 * time.Millisecond
	for _, h2 := range []bool{false, true} {
		for name, set := range map[string]func(*http.Server){
			"write": func(s *http.Server) { s.WriteTimeout = limit },
			"read":  func(s *http.Server) { s.ReadTimeout = limit },
			"both":  func(s *http.Server) { s.WriteTimeout, s.ReadTimeout = limit, limit },
		} {
			t.Run(fmt.Sprintf("HTTP2=%v/%s", h2, name), func(t *testing.T) {
				t.Parallel()
				sessions := make(chan *echo, 1)
				server, err := NewServer(&Options{
					Logger: slog.New(slog.DiscardHandler),
					OnSession: func(s *Session) Handler {
						e := newEcho(s)
						e.on = func([]byte, bool) bool { return false }
						sessions <- e
						return e
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				web := httptest.NewUnstartedServer(server)
				web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
				web.EnableHTTP2 = h2
				set(web.Config)
				if h2 {
					web.StartTLS()
				} else {
					web.Start()
				}
				t.Cleanup(func() {
					_ = server.Close()
					web.Close()
				})
				request := func(method, query, body string) string {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					r, err := http.NewRequestWithContext(ctx, method, web.URL+path+query, strings.NewReader(body))
					if err != nil {
						return err.Error()
					}
					response, err := web.Client().Do(r)
					if err != nil {
						return err.Error()
					}
					defer response.Body.Close()
					b, err := io.ReadAll(response.Body)
					return fmt.Sprint(response.ProtoMajor, " ", response.StatusCode, " ", string(b), errText(err))
				}
				version := 1
				if h2 {
					version = 2
				}

				request("GET", handshake, "")
				e := <-sessions
				query := handshake + "&sid=" + e.s.ID()
				for range 2 { // the second time on a used connection
					got := make(chan string, 1)
					go func() { got <- request("GET", query, "") }()
					eventually(t, "the GET waits", e.s.Writable)
					time.Sleep(3 * limit) // there is no event to wait for
					if err := e.s.SendText("late"); err != nil {
						t.Error(err)
					}
					want(t, got, fmt.Sprintf("%d 200 4late", version))
				}
				e.s.Pause()
				got := make(chan string, 1)
				go func() { got <- request("POST", query, "4held") }()
				time.Sleep(3 * limit)
				e.s.Resume()
				want(t, got, fmt.Sprintf("%d 200 ok", version))
				if e.s.State() != StateOpen {
					t.Error("the session has ended")
				}
			})
		}
	}
}
