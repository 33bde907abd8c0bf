// Command 09-dynamic-namespaces has one namespace for each project and each tenant, made when the first client
// asks for it and dropped when the last has left.
package main

import (
	"cmp"
	"errors"
	"log"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/myriad-rt/myriad/socketio"
)

func welcome(s *socketio.Socket) {
	s.Emit("welcome", s.Namespace().Name(), len(s.Namespace().Sockets()))
}

func main() {
	server := socketio.NewServer(&socketio.Options{DropEmptyNamespaces: true})

	projects := server.OfPattern(regexp.MustCompile(`^/project-\d+$`))
	projects.Use(func(s *socketio.Socket) error {
		var auth struct{ Token string }
		if err := s.Handshake().Auth.Bind(&auth); err != nil || auth.Token != "secret" {
			return errors.New("unauthorized")
		}
		return nil
	})
	projects.OnConnect(welcome)
	projects.On("note", func(e *socketio.Event) {
		var text string
		if e.Bind(&text) == nil {
			e.Socket().Namespace().Emit("note", text)
			e.Ack()
		}
	})

	tenants := server.OfFunc(func(name string, auth socketio.Value) (bool, error) {
		var claim struct{ Tenant string }
		if err := auth.Bind(&claim); err != nil {
			return false, err
		}
		tenant, ok := strings.CutPrefix(name, "/tenant-")
		return ok && tenant == claim.Tenant, nil
	})
	tenants.OnConnect(welcome)

	server.OnNewNamespace(func(n *socketio.Namespace) { server.Emit("new", n.Name()) })

	server.On("list", func(e *socketio.Event) {
		var names []string
		for _, n := range server.Namespaces() {
			names = append(names, n.Name())
		}
		slices.Sort(names)
		e.Ack(names)
	})
	// To all projects.
	socketio.On(server, "announce", func(_ *socketio.Socket, text string) { projects.Emit("announcement", text) })

	log.Fatal(server.ListenAndServe(":" + cmp.Or(os.Getenv("PORT"), "3000")))
}
