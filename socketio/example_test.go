package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/myriad-rt/myriad/socketio"
)

// visit connects a client to a server, sends packets, and prints the answers, without ids.
func visit(server *socketio.Server, connect string, packets ...string) {
	h := httptest.NewServer(server)
	defer h.Close()
	defer server.Close()
	url := "ws" + strings.TrimPrefix(h.URL, "http") + "/socket.io/?EIO=4&transport=websocket"
	conn, early, _, err := ws.Dial(context.Background(), url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	received := io.MultiReader(io.LimitReader(early, int64(early.Buffered())), conn)
	read := func() string {
		text, err := wsutil.ReadServerText(struct {
			io.Reader
			io.Writer
		}{received, conn})
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	read() // the open packet
	for i, packet := range append([]string{connect}, packets...) {
		if err := wsutil.WriteClientText(conn, []byte(packet)); err != nil {
			fmt.Println(err)
			return
		}
		if answer := read(); i > 0 || !strings.Contains(answer, `"sid"`) {
			fmt.Println(answer)
		}
	}
}

func Example() {
	server := socketio.NewServer(nil)
	socketio.On(server, "message", func(s *socketio.Socket, text string) {
		s.Emit("answer", strings.ToUpper(text))
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", server)
	// http.ListenAndServe(":3000", mux)

	visit(server, "40", `42["message","hello"]`)
	// Output: 42["answer","HELLO"]
}

func ExampleOnAck() {
	type query struct{ Room string }
	type history struct {
		Room     string   `json:"room"`
		Messages []string `json:"messages"`
	}
	server := socketio.NewServer(nil)
	socketio.OnAck(server, "history", func(_ *socketio.Socket, q query) history {
		return history{q.Room, []string{"hello"}}
	})

	visit(server, "40", `420["history",{"room":"lobby"}]`)
	// Output: 430[{"room":"lobby","messages":["hello"]}]
}

// An event with several arguments, one of them binary, and an acknowledgement if the client wants one.
func ExampleEvent() {
	server := socketio.NewServer(nil)
	server.On("draw", func(e *socketio.Event) {
		var x, y int
		var png []byte
		if err := e.Bind(&x, &y, &png); err != nil {
			return
		}
		e.Ack("drawn", x+y, len(png))
	})

	visit(server, "40", `427["draw",1,2]`)
	// Output: 437["drawn",3,0]
}

// Middleware that returns an error refuses the connection.
func ExampleNamespace_use() {
	server := socketio.NewServer(nil)
	server.Of("/admin").Use(func(s *socketio.Socket) error {
		var auth struct{ Token string }
		if err := s.Handshake().Auth.Bind(&auth); err != nil || auth.Token != "secret" {
			return &socketio.ConnectError{Message: "unauthorized", Data: map[string]int{"retry": 30}}
		}
		return nil
	})

	visit(server, `40/admin,{"token":"guess"}`)
	// Output: 44/admin,{"message":"unauthorized","data":{"retry":30}}
}

// A server can be used from any goroutine: an HTTP handler, a ticker, a queue.
func ExampleServer_emit() {
	server := socketio.NewServer(nil)
	defer server.Close()

	fmt.Println(server.Emit("news", "everyone"))
	fmt.Println(server.To("lobby", "staff").Except("muted").Emit("news", "some"))

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	replies, err := server.To("lobby").EmitWithAck(ctx, "ready?")
	fmt.Println(len(replies), err)

	_, err = server.EmitWithAck(context.Background(), "ready?")
	fmt.Println(errors.Is(err, socketio.ErrNoDeadline))
	// Output:
	// <nil>
	// <nil>
	// 0 <nil>
	// true
}
