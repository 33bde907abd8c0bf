// Node-client is a minimal server for client.js: names, rooms, messages with pictures, and an announcement from
// an HTTP handler. examples/chat adds everything else that a chat needs.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/myriad-rt/myriad/socketio"
)

type (
	hello struct {
		Name string `json:"name"`
	}
	join struct {
		Room string `json:"room"`
	}
	message struct {
		Room  string `json:"room"`
		From  string `json:"from"`
		Text  string `json:"text"`
		Image []byte `json:"image,omitempty"` // binary on the wire, no base64
	}
	presence struct {
		Room   string `json:"room"`
		Joined string `json:"joined,omitempty"`
		Left   string `json:"left,omitempty"`
	}
	reply struct {
		OK    bool   `json:"ok"`
		Error string `json:"error,omitempty"`
	}
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "TCP address to listen on")
	flag.Parse()

	server := socketio.NewServer(nil)
	socketio.OnAck(server, "hello", func(s *socketio.Socket, h hello) reply {
		s.SetData(h.Name)
		return reply{OK: true}
	})
	socketio.OnAck(server, "join", func(s *socketio.Socket, j join) reply {
		if err := s.Join(j.Room); err != nil {
			return reply{Error: err.Error()}
		}
		server.To(j.Room).Emit("presence", presence{Room: j.Room, Joined: name(s)}) // all who are in the room
		return reply{OK: true}
	})
	socketio.OnAck(server, "message", func(s *socketio.Socket, m message) reply {
		m.From = name(s)
		if err := s.To(m.Room).Emit("message", m); err != nil { // the room, without the sender
			return reply{Error: err.Error()}
		}
		return reply{OK: true}
	})
	server.OnDisconnecting(func(s *socketio.Socket, _ socketio.DisconnectReason) {
		for _, room := range s.Rooms() {
			s.To(room).Emit("presence", presence{Room: room, Left: name(s)})
		}
	})

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", server)
	mux.HandleFunc("POST /announce", func(w http.ResponseWriter, r *http.Request) {
		announcement := map[string]any{"text": r.FormValue("text"), "time": time.Now().UnixMilli()}
		answers, err := server.To(r.FormValue("room")).Timeout(5*time.Second).
			EmitWithAck(r.Context(), "announcement", announcement)
		if err != nil {
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
			return
		}
		seenBy := make([]string, len(answers))
		for i, answer := range answers { // each client answers with its name
			if err := answer.Bind(&seenBy[i]); err != nil {
				log.Print(err)
			}
		}
		json.NewEncoder(w).Encode(map[string]any{"seenBy": seenBy})
	})
	fmt.Printf("listening on http://%s\n", *addr)
	log.Fatal(http.ListenAndServe(*addr, mux))
}

// name returns the name that s gave in its hello.
func name(s *socketio.Socket) string {
	name, _ := s.Data().(string)
	return name
}
