package redistest

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
)

// Answers makes the connections of a client lose a response of the server, to a command that has been executed.
type Answers struct{ lose atomic.Bool }

// Dial is the Dialer of the client.
func (a *Answers) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &answering{Conn: conn, answers: a}, err
}

// answering is a connection of that client.
type answering struct {
	net.Conn
	answers *Answers
	asked   atomic.Bool
}

// marker occurs in the command whose response is lost.
const marker = "sent once"

// Write implements net.Conn.
func (c *answering) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(marker)) {
		c.asked.Store(true)
	}
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *answering) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.asked.Load() && c.answers.lose.CompareAndSwap(true, false) {
		c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// Lose makes one node, whose client uses these Answers, publish a broadcast and lose Redis's response. It checks
// that a socket of another node receives the broadcast once.
func (a *Answers) Lose(t *testing.T, from *adaptertest.Node, to *adaptertest.Socket) {
	t.Helper()
	send := func(name string) {
		t.Helper()
		if err := from.Adapter.Broadcast(adaptertest.Event(name), adapter.Options{}); err != nil {
			t.Error(err)
		}
	}
	count := 0
	// reach broadcasts until that arrives.
	reach := func(name string) {
		t.Helper()
		adaptertest.Eventually(t, func() string {
			send(name)
			time.Sleep(5 * time.Millisecond)
			arrived := false
			for _, text := range to.Take() {
				if text == `2["`+marker+`"]` {
					count++
				}
				arrived = arrived || text == `2["`+name+`"]`
			}
			if !arrived {
				return name + " does not arrive"
			}
			return ""
		})
	}
	reach("before")
	failed := from.Stats().Failed
	a.lose.Store(true)
	send(marker)
	adaptertest.Eventually(t, func() string {
		if a.lose.Load() {
			return "no answer is lost"
		}
		return ""
	})
	reach("after")
	if s := from.Stats(); count != 1 || s.Failed == failed {
		t.Errorf("the other node got it %d times; %+v", count, s)
	}
}
