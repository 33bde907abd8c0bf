package engineio_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/transport"
)

// echo sends each message back as it came.
type echo struct{ session *engineio.Session }

func (e *echo) HandleMessage(data []byte, binary bool) (run bool) {
	m := transport.NewMessage()
	defer m.Release()
	if binary {
		m.SetBinary(data)
	} else {
		m.SetText(append(m.Buffer(), data...))
	}
	if err := e.session.Send(m); err != nil {
		fmt.Println(err)
	}
	return false
}

func (e *echo) Run()         {}
func (e *echo) HandleDrain() {}

func (e *echo) HandleClose(reason engineio.CloseReason, err error) { fmt.Println("closed:", reason) }

// A server that sends every message back, and a client that uses long-polling.
func Example() {
	server, err := engineio.NewServer(&engineio.Options{
		OnSession:  func(s *engineio.Session) engineio.Handler { return &echo{s} },
		GenerateID: func(*http.Request) (string, error) { return "example", nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	mux := http.NewServeMux()
	mux.Handle("/engine.io/", server)
	site := httptest.NewServer(mux)
	defer site.Close()

	show := func(response *http.Response, err error) {
		if err != nil {
			fmt.Println(err)
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		fmt.Println(string(body))
	}
	url := site.URL + "/engine.io/?EIO=4&transport=polling"
	show(http.Get(url))
	url += "&sid=example"
	show(http.Post(url, "text/plain", strings.NewReader("4hello")))
	show(http.Get(url))
	show(http.Post(url, "text/plain", strings.NewReader("1")))
	// Output:
	// 0{"sid":"example","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}
	// ok
	// 4hello
	// closed: transport close
	// ok
}
