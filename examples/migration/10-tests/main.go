// Command 10-tests is a to-do list that several people share; main_test.go tests it.
package main

import (
	"cmp"
	"log"
	"os"
	"slices"
	"sync"

	"github.com/myriad-rt/myriad/socketio"
)

type todo struct {
	ID    int    `json:"id"`
	Title string `json:"title,omitempty"`
}

func newServer() *socketio.Server {
	server := socketio.NewServer(nil)
	var mu sync.Mutex
	todos := []todo{}

	server.On("add", func(e *socketio.Event) {
		var title string
		if err := e.Bind(&title); err != nil || title == "" {
			e.Ack(map[string]string{"error": "a title is needed"})
			return
		}
		mu.Lock()
		defer mu.Unlock()
		added := todo{ID: len(todos) + 1, Title: title}
		todos = append(todos, added)
		e.Socket().Broadcast().Emit("added", added)
		e.Ack(todo{ID: added.ID})
	})
	server.On("list", func(e *socketio.Event) {
		mu.Lock()
		list := slices.Clone(todos)
		mu.Unlock()
		e.Ack(list)
	})
	return server
}

func main() {
	log.Fatal(newServer().ListenAndServe(":" + cmp.Or(os.Getenv("PORT"), "3000")))
}
