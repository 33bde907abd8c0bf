// Command 04-acknowledgements shows acknowledgements in both directions: by the server, by one client, by many.
package main

import (
	"cmp"
	"log"
	"os"
	"slices"
	"time"

	"github.com/myriad-rt/myriad/socketio"
)

type quotient struct {
	Result *float64 `json:"result,omitempty"`
	Error  string   `json:"error,omitempty"`
}

type outcome struct {
	Votes    []string `json:"votes"`
	Complete bool     `json:"complete"`
}

func main() {
	server := socketio.NewServer(nil)

	server.On("divide", func(e *socketio.Event) {
		var a, b float64
		if e.Bind(&a, &b) != nil {
			return
		}
		if b == 0 {
			e.Ack(quotient{Error: "division by zero"})
			return
		}
		result := a / b
		e.Ack(quotient{Result: &result})
	})

	// Asks the client a question of its own before it answers. The handler blocks meanwhile, which only
	// this client's later events wait for.
	server.On("greet", func(e *socketio.Event) {
		name := "stranger"
		s := e.Socket()
		if answer, err := s.Timeout(2*time.Second).EmitWithAck(s.Context(), "what is your name?"); err == nil {
			answer.Bind(&name)
		}
		e.Ack("Hello " + name)
	})

	// Everybody has 2 s to vote; whoever does not is not counted.
	server.On("poll", func(e *socketio.Event) {
		var question string
		if e.Bind(&question) != nil {
			return
		}
		answers, err := server.Timeout(2*time.Second).EmitWithAck(e.Socket().Context(), "vote", question)
		votes := make([]string, 0, len(answers)) // those that came in time, also after an error
		for _, answer := range answers {
			var vote string
			if answer.Bind(&vote) == nil {
				votes = append(votes, vote)
			}
		}
		slices.Sort(votes)
		e.Ack(outcome{votes, err == nil})
	})

	log.Fatal(server.ListenAndServe(":" + cmp.Or(os.Getenv("PORT"), "3000")))
}
