package main

import (
	"log"
	"sync/atomic"

	"github.com/myriad-rt/myriad/socketio"
)

// greeting is the argument of the event "greet", which is decoded into a struct and encoded again.
type greeting struct {
	Room string `json:"room"`
	Text string `json:"text"`
	N    int    `json:"n"`
}

// burst requests Count events with Data.
type burst struct {
	Count int    `json:"count"`
	Data  string `json:"data"`
}

// roomMessage is a message for a room.
type roomMessage struct {
	Room string `json:"room"`
	Data string `json:"data"`
}

// maxBurst bounds the number of events that the server sends for one event.
const maxBurst = 10_000

// register puts the events of the contract on io.
func register(io *socketio.Server) {
	io.OnConnect(func(s *socketio.Socket) { report(s, s.Join("all")) })

	socketio.OnAck(io, "echo", func(_ *socketio.Socket, v socketio.Value) socketio.Value { return v })
	socketio.On(io, "bcast", func(s *socketio.Socket, v socketio.Value) {
		report(s, io.To("all").Emit("msg", v))
	})

	socketio.OnAck(io, "greet", func(_ *socketio.Socket, g greeting) greeting { return g })

	var hits atomic.Int64
	socketio.On(io, "hit", func(_ *socketio.Socket, _ string) { hits.Add(1) })
	socketio.OnAck(io, "hits", func(_ *socketio.Socket, _ struct{}) int64 { return hits.Load() })

	socketio.On(io, "burst", func(s *socketio.Socket, b burst) {
		for range min(b.Count, maxBurst) {
			report(s, s.Emit("msg", b.Data))
		}
	})

	socketio.OnAck(io, "join", func(s *socketio.Socket, room string) bool { return s.Join(room) == nil })
	socketio.OnAck(io, "leave", func(s *socketio.Socket, room string) bool {
		s.Leave(room)
		return true
	})
	socketio.On(io, "room", func(s *socketio.Socket, m roomMessage) {
		report(s, io.To(m.Room).Emit("msg", m.Data))
	})
	socketio.On(io, "typing", func(s *socketio.Socket, room string) {
		report(s, s.To(room).Volatile().Emit("typing", room))
	})
}

// report logs an error of sending to s, unless s has left.
func report(s *socketio.Socket, err error) {
	if err != nil && s.Connected() {
		log.Printf("socket %s: %v", s.ID(), err)
	}
}
