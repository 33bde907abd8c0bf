//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/gen"
)

// inFlight is how many clients of a worker connect at once.
const inFlight = 512

// connectTimeout is how long the clients of one step may take to connect. An emulated machine is slow.
const connectTimeout = 3 * time.Hour

// worker is a process with clients. It reads commands from its standard input, one per line, and answers each with a line:
//
//	connect N    connects N more clients
//	expect TEXT  from now on the event "msg" with TEXT may come, once to each client
//	send TEXT    has the first client send the event "bcast" with TEXT
//	status       the number of clients, the number of pings answered by all clients, the lowest and the highest
//	             number answered by one client, and the number of deliveries of the event
type worker struct {
	loop      *gen.Loop
	commands  chan string
	want      string
	seen      []bool // by client
	delivered int
}

// runWorker works until the standard input ends.
func runWorker(addr string, source int) error {
	w := &worker{commands: make(chan string)}
	loop, err := gen.New(gen.Options{Addr: addr, FirstSource: source, InFlight: inFlight}, w)
	if err != nil {
		return err
	}
	w.loop = loop
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			w.commands <- lines.Text()
		}
		close(w.commands)
	}()
	for {
		var line string
		ok := true
		err := loop.Until(time.Hour, func() bool {
			select {
			case line, ok = <-w.commands:
				return true
			default:
				return false
			}
		})
		if errors.Is(err, gen.ErrTimeout) {
			continue
		}
		if err != nil || !ok {
			return err
		}
		answer, err := w.do(line)
		if err != nil {
			return err
		}
		fmt.Println(answer)
	}
}

// do carries out a command.
func (w *worker) do(line string) (answer string, err error) {
	command, argument, _ := strings.Cut(line, " ")
	switch command {
	case "connect":
		var n int
		if _, err := fmt.Sscan(argument, &n); err != nil {
			return "", err
		}
		return "ok", w.loop.Connect(n, connectTimeout)
	case "expect":
		w.want = `42["msg","` + argument + `"]`
		w.seen = make([]bool, len(w.loop.Clients))
		w.delivered = 0
		return "ok", nil
	case "send":
		w.loop.Clients[0].Write(gen.AppendFrame(nil, []byte(`42["bcast","`+argument+`"]`), false))
		return "ok", nil
	case "status":
		fewest, most := 0, 0
		for i, c := range w.loop.Clients {
			if i == 0 || c.Pings < fewest {
				fewest = c.Pings
			}
			most = max(most, c.Pings)
		}
		return fmt.Sprint(len(w.loop.Clients), w.loop.Pings, fewest, most, w.delivered), nil
	}
	return "", fmt.Errorf("unknown command %q", line)
}

// Message handles the broadcast, which must come once.
func (w *worker) Message(c *gen.Conn, m []byte, isBinary bool) error {
	if isBinary || string(m) != w.want || w.seen[c.Index] {
		return fmt.Errorf("unexpected message %.200q", m)
	}
	w.seen[c.Index] = true
	w.delivered++
	return nil
}
