package socketio

import (
	"sync"
	"time"

	"github.com/myriad-rt/myriad/engineio"
)

// turn is how long a client that was sent a volatile message on a WebSocket is sent no other. With the
// reference a transport is not writable before the event loop has come round, so that of volatile messages
// made in one go only the first arrives; here the kernel takes a message at once.
const turn = 3 * time.Millisecond

// turns ends the turns of clients, many at a time.
type turns struct {
	mu      sync.Mutex
	clients []*client
}

// add ends c's turn when its time has come.
func (t *turns) add(c *client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clients = append(t.clients, c)
	if len(t.clients) == 1 {
		time.AfterFunc(turn, t.end)
	}
}

func (t *turns) end() {
	t.mu.Lock()
	clients := t.clients
	t.clients = nil
	t.mu.Unlock()
	for _, c := range clients {
		c.inTurn.Store(false)
	}
}

// claimVolatile reports whether a volatile message may be sent now. If so, one is expected to be.
func (c *client) claimVolatile() bool {
	if !c.session.Writable() {
		return false
	}
	if c.session.Transport() == engineio.Polling {
		return true // and its request is answered by the message
	}
	if !c.inTurn.CompareAndSwap(false, true) {
		return false
	}
	c.server.turns.add(c)
	return true
}
