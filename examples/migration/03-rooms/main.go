// Command 03-rooms has rooms that people enter and leave, talk in, and can be thrown out of.
package main

import (
	"cmp"
	"log"
	"os"
	"slices"

	"github.com/myriad-rt/myriad/socketio"
)

func main() {
	server := socketio.NewServer(nil)

	server.On("enter", func(e *socketio.Event) {
		var room string
		if e.Bind(&room) != nil {
			return
		}
		s := e.Socket()
		s.Join(room)
		s.To(room).Emit("entered", room)
		sockets, err := server.In(room).FetchSockets(s.Context())
		if err != nil {
			return
		}
		e.Ack(len(sockets))
	})
	socketio.OnAck(server, "leave", func(s *socketio.Socket, room string) []string {
		s.Leave(room)
		s.To(room).Emit("left", room)
		return others(s)
	})
	// The first argument is a list of rooms; whoever is in several of them gets the message once.
	server.On("say", func(e *socketio.Event) {
		var rooms []string
		var text string
		if e.Bind(&rooms, &text) == nil {
			e.Socket().To(rooms...).Except("quiet").Emit("said", text)
		}
	})
	server.On("move", func(e *socketio.Event) {
		var from, to string
		if e.Bind(&from, &to) == nil {
			server.In(from).SocketsJoin(to)
			server.In(from).SocketsLeave(from)
			e.Ack()
		}
	})
	socketio.On(server, "close", func(_ *socketio.Socket, room string) { server.In(room).DisconnectSockets(true) })
	server.OnDisconnecting(func(s *socketio.Socket, _ socketio.DisconnectReason) {
		for _, room := range others(s) {
			s.To(room).Emit("left", room)
		}
	})

	log.Fatal(server.ListenAndServe(":" + cmp.Or(os.Getenv("PORT"), "3000")))
}

// others returns the rooms of s without the one that is named after it, in order.
func others(s *socketio.Socket) []string {
	rooms := slices.DeleteFunc(s.Rooms(), func(room string) bool { return room == s.ID() })
	slices.Sort(rooms)
	return rooms
}
