package adapter

import (
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// maxServerEvents bounds the events of other nodes that wait for a handler to return.
const maxServerEvents = 10_000

// serverEvents is the queue of events that other nodes have emitted for this one.
type serverEvents struct {
	mu      sync.Mutex
	waiting []*Message
	running bool
	closed  bool
}

func (c *Cluster) receiveServerEvent(m *Message) {
	added, start := c.events.add(m)
	if !added {
		c.tooMany("server-side event of another node ignored")
	}
	if start {
		go c.handleServerEvents()
	}
}

// add queues m and reports whether there was room for it, and whether a goroutine is needed.
func (e *serverEvents) add(m *Message) (added, start bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return true, false
	}
	if len(e.waiting) >= maxServerEvents {
		return false, false
	}
	start = !e.running
	e.waiting, e.running = append(e.waiting, m), true
	return true, start
}

func (c *Cluster) handleServerEvents() {
	for {
		e := &c.events
		e.mu.Lock()
		if len(e.waiting) == 0 || e.closed {
			e.running, e.waiting = false, nil
			e.mu.Unlock()
			return
		}
		m := e.waiting[0]
		e.waiting[0] = nil
		e.waiting = e.waiting[1:]
		e.mu.Unlock()
		c.handleServerEvent(m)
	}
}

func (c *Cluster) handleServerEvent(m *Message) {
	returned := false
	defer func() {
		p := recover()
		if returned {
			return
		}
		if p == nil { // runtime.Goexit, which ends this goroutine
			p = "runtime.Goexit"
			defer func() { go c.handleServerEvents() }()
		}
		c.opts.Logger.Error("handler of a server-side event panicked",
			"namespace", c.ns.Name(), "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	}()
	var ack func(parser.Args)
	if m.RequestID != "" {
		var once sync.Once
		ack = func(answer parser.Args) {
			once.Do(func() {
				c.respond(m, &Message{Type: MessageServerSideEmitResponse, Value: firstValue(answer)})
			})
		}
	}
	c.ns.HandleServerSideEmit(parser.Args(m.Value), ack)
	returned = true
}

func (e *serverEvents) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed, e.waiting = true, nil
}
