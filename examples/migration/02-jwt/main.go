// Command 02-jwt lets clients show a JSON Web Token; some events are for administrators.
package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/myriad-rt/myriad/socketio"
)

var secret = []byte(cmp.Or(os.Getenv("JWT_SECRET"), "a secret of at least 32 bytes ..."))

type claims struct {
	Subject string  `json:"sub"`
	Role    string  `json:"role"`
	Expires float64 `json:"exp,omitempty"` // seconds since 1970
}

var errInvalid, errExpired = errors.New("token is not valid"), errors.New("token has expired")

// verify returns the claims of a token that is signed with HS256. It checks the signature before it
// reads anything else.
func verify(token string) (c claims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errInvalid
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
		return c, errInvalid
	}
	var header struct{ Alg string }
	if decode(parts[0], &header) != nil || header.Alg != "HS256" || decode(parts[1], &c) != nil {
		return c, errInvalid
	}
	if c.Expires != 0 && time.Now().Unix() >= int64(c.Expires) {
		return c, errExpired
	}
	return c, nil
}

func decode(part string, dst any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return cmp.Or(err, json.Unmarshal(text, dst))
}

func main() {
	server := socketio.NewServer(nil)
	server.Use(func(s *socketio.Socket) error {
		var auth struct{ Token string }
		err := s.Handshake().Auth.Bind(&auth)
		user, invalid := verify(auth.Token)
		if err = cmp.Or(err, invalid); err != nil {
			return &socketio.ConnectError{Message: "unauthorized", Data: map[string]bool{"expired": err == errExpired}}
		}
		s.SetData(user)
		return nil
	})
	server.OnConnect(func(s *socketio.Socket) {
		user := s.Data().(claims)
		s.Use(func(e *socketio.Event) error {
			if strings.HasPrefix(e.Name(), "admin:") && user.Role != "admin" {
				return fmt.Errorf("%s is for administrators", e.Name())
			}
			return nil
		})
		s.OnError(func(err error) { s.Emit("denied", err.Error()) })
	})
	server.On("whoami", func(e *socketio.Event) {
		user := e.Socket().Data().(claims)
		e.Ack(map[string]string{"sub": user.Subject, "role": user.Role})
	})
	socketio.On(server, "admin:announce", func(_ *socketio.Socket, text string) { server.Emit("announcement", text) })
	log.Fatal(server.ListenAndServe(":" + cmp.Or(os.Getenv("PORT"), "3000")))
}
