// Command 05-private-messaging carries private messages between people, each of whom may be connected more than
// once. A session survives a reload of the page: the client keeps its id and shows it next time.
package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"log"
	"os"
	"sync"

	"github.com/myriad-rt/myriad/socketio"
)

type session struct {
	id      string
	User    string `json:"user"`
	Name    string `json:"name"`
	sockets int
}

type userState struct {
	session
	Online bool `json:"online"`
}

type message struct {
	From string `json:"from"`
	To   string `json:"to"`
	Text string `json:"text"`
}

// store keeps the sessions by id. Its lock is also held while news of them is emitted, which does not wait for
// anybody, so that everyone hears of them in the same order.
type store struct {
	sync.Mutex
	byID  map[string]*session
	order []*session
}

func (st *store) admit(s *socketio.Socket) error {
	var auth struct{ Session, Name string }
	if err := s.Handshake().Auth.Bind(&auth); err != nil {
		return err
	}
	st.Lock()
	defer st.Unlock()
	known := st.byID[auth.Session]
	if known == nil {
		if auth.Name == "" {
			return errors.New("invalid name")
		}
		known = &session{id: rand.Text(), User: rand.Text(), Name: auth.Name}
		st.byID[known.id], st.order = known, append(st.order, known)
	}
	s.SetData(known)
	return nil
}

func (st *store) welcome(s *socketio.Socket) {
	st.Lock()
	defer st.Unlock()
	mine := s.Data().(*session)
	s.Join(mine.User)
	s.Emit("session", map[string]string{"session": mine.id, "user": mine.User})
	users := make([]userState, len(st.order))
	for i, other := range st.order {
		users[i] = userState{*other, other.sockets > 0}
	}
	s.Emit("users", users)
	if mine.sockets++; mine.sockets == 1 {
		s.Broadcast().Emit("online", mine)
	}
}

func (st *store) leave(s *socketio.Socket, _ socketio.DisconnectReason) {
	st.Lock()
	defer st.Unlock()
	mine := s.Data().(*session)
	if mine.sockets--; mine.sockets == 0 {
		s.Broadcast().Emit("offline", mine.User)
	}
}

func main() {
	server := socketio.NewServer(nil)
	sessions := &store{byID: map[string]*session{}}
	server.Use(sessions.admit)
	server.OnConnect(sessions.welcome)
	server.OnDisconnect(sessions.leave)
	// To all connections of the recipient, and to the sender's others.
	socketio.On(server, "private message", func(s *socketio.Socket, m message) {
		m.From = s.Data().(*session).User
		s.To(m.To, m.From).Emit("private message", m)
	})
	log.Fatal(server.ListenAndServe(":" + cmp.Or(os.Getenv("PORT"), "3000")))
}
