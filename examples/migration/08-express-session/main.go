// Command 08-express-session has HTTP endpoints with sessions; sockets belong to the session of their handshake's
// cookie. The cookie has the name and form that express-session gives it.
package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/myriad-rt/myriad/socketio"
)

var secret = []byte(cmp.Or(os.Getenv("SESSION_SECRET"), "changeit"))

type session struct{ id, user string }

var sessions sync.Map // of *session by id

// sign returns the value of the cookie: "s:", the id, and the id's signature.
func sign(id string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id))
	return "s:" + id + "." + base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
}

// sessionOf returns the session of a request, or nil.
func sessionOf(r *http.Request) *session {
	cookie, err := r.Cookie("connect.sid")
	if err != nil {
		return nil
	}
	value, _ := url.QueryUnescape(cookie.Value)
	id, _, _ := strings.Cut(strings.TrimPrefix(value, "s:"), ".")
	if !hmac.Equal([]byte(value), []byte(sign(id))) {
		return nil
	}
	found, _ := sessions.Load(id)
	s, _ := found.(*session)
	return s
}

func main() {
	// Value is called once per client, with the request of its handshake.
	server := socketio.NewServer(&socketio.Options{Value: func(r *http.Request) any { return sessionOf(r) }})
	server.Use(func(s *socketio.Socket) error {
		if s.Session().Value().(*session) == nil {
			return errors.New("please log in")
		}
		return nil
	})
	server.OnConnect(func(s *socketio.Socket) {
		mine := s.Session().Value().(*session)
		s.Join("session:" + mine.id)
		s.On("whoami", func(e *socketio.Event) { e.Ack(mine.user) })
	})

	http.Handle("/socket.io/", server)
	http.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		var login struct{ User string }
		if err := json.NewDecoder(r.Body).Decode(&login); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s := &session{id: rand.Text(), user: login.User}
		sessions.Store(s.id, s)
		http.SetCookie(w, &http.Cookie{Name: "connect.sid", Value: url.QueryEscape(sign(s.id)), Path: "/", HttpOnly: true})
		w.WriteHeader(http.StatusNoContent)
	})
	http.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if s := sessionOf(r); s != nil {
			sessions.Delete(s.id)
			server.In("session:" + s.id).DisconnectSockets(false)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe(":"+cmp.Or(os.Getenv("PORT"), "3000"), nil))
}
