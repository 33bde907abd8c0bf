package socketio

import (
	"sync/atomic"
	"time"
)

// A volatile event is dropped while the client cannot take more: its session is not writable, or its own handler, which
// is running, has it sent something already. With the reference a transport is not writable from the first packet of a
// turn of the event loop until the loop comes round; here the turn is one call of a handler, since the kernel takes
// packets at once. What other goroutines send a client begins no turn for it, unless its handler is running.
//
// A handler may run for as long as it wants, so a turn has ended at the latest turnSteps steps of the clock after its first
// packet.

// The states of client.turn. A turn in which something has been sent is the time of that, with turnSent set.
const (
	turnNone uint32 = 0 // no handler is running
	turnOpen uint32 = 1 // nothing has been sent yet
	turnSent uint32 = 1 << 31

	turnSteps = 2
)

// beginTurn takes note that the client is sent something.
func (c *client) beginTurn() {
	if c.turn.Load() == turnOpen {
		c.turn.CompareAndSwap(turnOpen, turnSent|c.server.clock.read())
	}
}

// takesVolatile reports whether a volatile event may be sent to the client now.
func (c *client) takesVolatile() bool {
	if turn := c.turn.Load(); turn&turnSent != 0 && (c.server.clock.now.Load()-turn)&^turnSent < turnSteps {
		return false
	}
	return c.session.Writable()
}

// clock is a clock that is cheap to read. It stands still when it has not been read for a while, but not before a turn
// that began with its last reading has ended.
type clock struct {
	now   atomic.Uint32 // in steps
	state atomic.Uint32
	timer *time.Timer
}

func (k *clock) init() {
	k.timer = time.AfterFunc(time.Hour, k.tick)
	k.timer.Stop()
}

const (
	clockStopped uint32 = iota
	clockUnread         // since the last step
	clockRead

	clockStep = 5 * time.Millisecond
)

// read returns the time, in 31 bits.
func (k *clock) read() uint32 {
	if k.state.Load() != clockRead && k.state.Swap(clockRead) == clockStopped {
		k.timer.Reset(clockStep)
	}
	return k.now.Load() &^ turnSent
}

// tick is called by the timer after each step.
func (k *clock) tick() {
	k.now.Add(1)
	if k.state.CompareAndSwap(clockRead, clockUnread) || !k.state.CompareAndSwap(clockUnread, clockStopped) {
		k.timer.Reset(clockStep)
	}
}
