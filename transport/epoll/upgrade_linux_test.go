package epoll

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/myriad-rt/myriad/internal/testing/fdlimit"
	"github.com/myriad-rt/myriad/transport"
)

// A server without descriptors for its event loops refuses handshakes until descriptors are available.
func TestLoopsCannotStart(t *testing.T) {
	release := fdlimit.Exhaust(t)
	s, err := NewServer(&Options{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	release()
	entered, gate := make(chan struct{}), make(chan struct{})
	ts := &testServer{Server: s, http: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-gate
		c, err := s.Upgrade(w, r, nil, transport.FormatV4)
		if err == nil {
			echo(c)
			return
		}
		var refusal *HandshakeError
		if !errors.As(err, &refusal) {
			t.Error(err)
		}
	}))}
	defer ts.http.Close()
	for _, want := range []int{http.StatusServiceUnavailable, http.StatusSwitchingProtocols} {
		got := make(chan int, 1)
		go func() {
			request, _ := http.NewRequest("GET", ts.http.URL, nil)
			for name, value := range map[string]string{
				"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": testKey, "Sec-WebSocket-Version": "13",
			} {
				request.Header.Set(name, value)
			}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Error(err)
				got <- 0
				return
			}
			response.Body.Close()
			got <- response.StatusCode
		}()
		<-entered
		if want == http.StatusServiceUnavailable {
			release = fdlimit.Exhaust(t)
		}
		gate <- struct{}{}
		if status := <-got; status != want {
			t.Errorf("status %d, want %d", status, want)
		}
		release()
	}
}
