// Command 01-chat is a chat: people log in, talk, see who types, and hear who comes and goes.
package main

import (
	"cmp"
	"log"
	"os"
	"sync/atomic"

	"github.com/myriad-rt/myriad/socketio"
)

type count struct {
	Name  string `json:"name,omitempty"`
	Users int64  `json:"users,omitempty"`
	Error string `json:"error,omitempty"`
}

type message struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

type typing struct {
	Name   string `json:"name"`
	Typing bool   `json:"typing"`
}

// name returns the name that s has logged in with, or "".
func name(s *socketio.Socket) string {
	name, _ := s.Data().(string)
	return name
}

func main() {
	server := socketio.NewServer(nil)
	var users atomic.Int64 // handlers of different clients run in parallel

	socketio.OnAck(server, "login", func(s *socketio.Socket, wanted string) count {
		if name(s) != "" {
			return count{Error: "already logged in"}
		}
		s.SetData(wanted)
		n := users.Add(1)
		s.Broadcast().Emit("joined", count{Name: wanted, Users: n})
		return count{Users: n}
	})
	socketio.On(server, "say", func(s *socketio.Socket, text string) {
		if name(s) != "" {
			s.Broadcast().Emit("said", message{name(s), text})
		}
	})
	socketio.On(server, "typing", func(s *socketio.Socket, is bool) {
		if name(s) != "" {
			s.Broadcast().Emit("typing", typing{name(s), is})
		}
	})
	server.OnDisconnect(func(s *socketio.Socket, _ socketio.DisconnectReason) {
		if name(s) != "" {
			s.Broadcast().Emit("left", map[string]any{"name": name(s), "users": users.Add(-1)})
		}
	})

	log.Fatal(server.ListenAndServe(":" + cmp.Or(os.Getenv("PORT"), "3000")))
}
