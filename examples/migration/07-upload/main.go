// Command 07-upload takes files in chunks, each acknowledged, so that the client knows how far it is.
package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash"
	"log"
	"os"
	"path/filepath"
	"regexp"

	"github.com/myriad-rt/myriad/socketio"
)

var folder = cmp.Or(os.Getenv("UPLOADS"), os.TempDir())

const maxSize = 10e6 // bytes

var plainName = regexp.MustCompile(`^\w[\w. -]*$`)

// upload is the file that a socket is sending. It needs no lock: events of one client are handled one at a time.
type upload struct {
	name           string
	size, received int
	file           *os.File
	hash           hash.Hash
}

type reply map[string]any

func start(s *socketio.Socket, f struct {
	Name string
	Size int
}) reply {
	if s.Data() != nil {
		return reply{"error": "an upload is running"}
	}
	if !plainName.MatchString(f.Name) {
		return reply{"error": "invalid name"}
	}
	if f.Size <= 0 || f.Size > maxSize {
		return reply{"error": "too large"}
	}
	file, err := os.Create(filepath.Join(folder, s.ID()+".part"))
	if err != nil {
		return reply{"error": "cannot be stored"}
	}
	s.SetData(&upload{name: f.Name, size: f.Size, file: file, hash: sha256.New()})
	return reply{"chunk": 64 * 1024}
}

func chunk(s *socketio.Socket, offset int, bytes []byte) reply {
	u, ok := s.Data().(*upload)
	if !ok || offset != u.received || offset+len(bytes) > u.size {
		return reply{"error": "unexpected chunk"}
	}
	u.hash.Write(bytes)
	if _, err := u.file.Write(bytes); err != nil {
		return reply{"error": "cannot be stored"}
	}
	if u.received += len(bytes); u.received < u.size {
		return reply{"received": u.received}
	}
	s.SetData(nil)
	err := u.file.Close()
	if err == nil {
		err = os.Rename(u.file.Name(), filepath.Join(folder, u.name))
	}
	if err != nil {
		return reply{"error": "cannot be stored"}
	}
	return reply{"name": u.name, "size": u.size, "sha256": fmt.Sprintf("%x", u.hash.Sum(nil))}
}

func main() {
	server := socketio.NewServer(&socketio.Options{MaxHTTPBufferSize: 128 * 1024})
	socketio.OnAck(server, "start", start)
	server.On("chunk", func(e *socketio.Event) {
		var offset int
		var bytes []byte
		if e.Bind(&offset, &bytes) == nil {
			e.Ack(chunk(e.Socket(), offset, bytes))
		}
	})
	server.OnDisconnect(func(s *socketio.Socket, _ socketio.DisconnectReason) {
		if u, ok := s.Data().(*upload); ok {
			u.file.Close()
			os.Remove(u.file.Name())
		}
	})
	log.Fatal(server.ListenAndServe(":" + cmp.Or(os.Getenv("PORT"), "3000")))
}
