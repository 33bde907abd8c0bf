package socketio

import (
	"sync/atomic"
	"time"
)

// A volatile event is dropped while the client cannot take more: its session is not writable, or its own handler is running
// and has already sent it something. In the reference, a transport is not writable from its first packet in a turn of the
// event loop until the end of that turn. Here a turn is one call of a handler, because the kernel accepts packets
// immediately. Packets sent by other goroutines do not begin a turn unless the client's handler is running.
//
// A handler may run for long, so a turn ends at the latest turnSteps steps of the clock after its first packet.

// The states of client.turn. After something has been sent, it is the time of the sending with turnSent set.
const (
	turnNone uint32 = 0 // no handler is running
	turnOpen uint32 = 1 // nothing has been sent yet
	turnSent uint32 = 1 << 31

	turnSteps = 2
)

// beginTurn records that something is being sent to the client.
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

// clock is a clock that is cheap to read. It stops when it has not been read for a while, but not before a turn that began
// with its last reading has ended.
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
