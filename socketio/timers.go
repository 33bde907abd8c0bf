package socketio

import (
	"time"

	"github.com/myriad-rt/myriad/internal/wheel"
)

// timers are the timers of a connecting client.
type timers struct {
	timeout, cork       wheel.Timer
	connecting, corking bool // which of them runs
}

// startTimeout closes the session if the client does not join a namespace in time.
func (c *client) startTimeout() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timers = &timers{connecting: true}
	c.server.wheel.Schedule(&c.timers.timeout, c.server.opts.ConnectTimeout, (*connectTimeout)(c))
}

// connectTimeout is the timer task of startTimeout.
type connectTimeout client

// Expire implements [wheel.Task].
func (c *connectTimeout) Expire() { c.session.Close() }

func (c *client) stopTimeoutLocked() {
	if t := c.timers; t != nil && t.connecting {
		c.server.wheel.Stop(&t.timeout)
		t.connecting = false
		c.releaseTimersLocked()
	}
}

func (c *client) releaseTimersLocked() {
	if !c.timers.connecting && !c.timers.corking {
		c.timers = nil
	}
}

// defaultCorkTime bounds the time for which a client is corked.
const defaultCorkTime = 20 * time.Millisecond

// cork holds packets back until uncork, for a bounded time, so that they reach the client together. Calls do not nest.
func (c *client) cork() {
	c.session.Cork()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers == nil {
		c.timers = new(timers)
	}
	c.timers.corking = true
	c.server.wheel.Schedule(&c.timers.cork, c.server.corkTime, (*corkTimeout)(c))
}

// uncork undoes cork.
func (c *client) uncork() {
	c.mu.Lock()
	t := c.timers
	corked := t != nil && t.corking
	if corked {
		c.server.wheel.Stop(&t.cork)
		t.corking = false
		c.releaseTimersLocked()
	}
	c.mu.Unlock()
	if corked {
		c.session.Uncork()
	}
}

// corkTimeout is a client as the task of its timer.
type corkTimeout client

// Expire implements [wheel.Task].
func (c *corkTimeout) Expire() { c.session.Uncork() }
