// Command 06-presence tells who is there: a user is online while any of its connections is. An HTTP endpoint
// tells the same.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"log"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"

	"github.com/myriad-rt/myriad/socketio"
)

// connections counts the connections of each user.
var connections = struct {
	sync.Mutex
	of map[string]int
}{of: map[string]int{}}

type data struct{ User string }

func user(s *socketio.Socket) string { return s.Data().(data).User }

func main() {
	server := socketio.NewServer(nil)

	server.Use(func(s *socketio.Socket) error {
		var auth data
		if err := s.Handshake().Auth.Bind(&auth); err != nil || auth.User == "" {
			return errors.New("who are you?")
		}
		s.SetData(auth)
		return nil
	})
	server.OnConnect(func(s *socketio.Socket) {
		connections.Lock()
		defer connections.Unlock()
		if connections.of[user(s)]++; connections.of[user(s)] == 1 {
			s.Broadcast().Emit("online", user(s))
		}
		s.Emit("present", slices.Sorted(maps.Keys(connections.of)))
	})
	server.OnDisconnect(func(s *socketio.Socket, _ socketio.DisconnectReason) {
		connections.Lock()
		defer connections.Unlock()
		if connections.of[user(s)]--; connections.of[user(s)] == 0 {
			delete(connections.of, user(s))
			s.Broadcast().Emit("offline", user(s))
		}
	})

	http.Handle("/socket.io/", server)
	http.HandleFunc("GET /presence", func(w http.ResponseWriter, r *http.Request) {
		sockets, err := server.FetchSockets(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		users := make([]string, 0, len(sockets))
		for _, s := range sockets {
			var d data
			if s.BindData(&d) == nil {
				users = append(users, d.User)
			}
		}
		slices.Sort(users)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(slices.Compact(users))
	})
	log.Fatal(http.ListenAndServe(":"+cmp.Or(os.Getenv("PORT"), "3000"), nil))
}
