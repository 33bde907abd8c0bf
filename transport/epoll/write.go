package epoll

import "github.com/myriad-rt/myriad/transport"

// maxGathered is the size in bytes up to which the messages of one turn wait for its end.
const maxGathered = 16 << 10

// sendLocked writes b and queues the bytes that the kernel does not accept: by reference if b holds frames of m and
// m is shared, otherwise as a copy. m may be nil.
func (c *Conn) sendLocked(b []byte, m *transport.Message) error {
	if c.has(closing | mute) {
		return transport.ErrClosed
	}
	waits := !c.has(started) || c.has(corked)
	if !waits && c.gathersLocked() {
		if waits = c.queuedLocked()+len(b) <= min(maxGathered, c.options().MaxQueuedBytes); !waits {
			c.flushLocked()
			if c.has(closing | mute) {
				return transport.ErrClosed
			}
		}
	}
	if c.out == nil && !waits {
		n, err := c.carrier().write(c, b)
		if err != nil {
			c.writeFailedLocked(err)
			return transport.ErrClosed
		}
		if b = b[n:]; len(b) == 0 {
			if c.has(gathering) {
				c.state.Or(preceded)
			}
			return nil
		}
	}
	if c.queuedLocked()+len(b) > c.options().MaxQueuedBytes {
		c.shedLocked()
		return transport.ErrSlowPeer
	}
	if c.out == nil {
		c.out = newQueue(c.options().Budget)
	}
	c.out.push(b, m)
	if !waits {
		c.carrier().watch(c)
	}
	return nil
}

// sendPong answers a ping. While the peer does not read and bytes are queued, only its last ping is answered.
//
// RFC 6455 section 5.5.3.
func (c *Conn) sendPong(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queuedLocked() > maxGathered && !c.has(closing|mute) {
		c.out.pong = append(transport.AppendHeader(c.out.pong[:0], transport.OpPong, len(payload)), payload...)
		return
	}
	c.sendFrameLocked(transport.OpPong, payload)
}

// gather is called by the loop when the turn of c begins. From then on the first message is written immediately.
// Later ones are written when the turn ends, or earlier if there are many. A Run that takes long does not delay
// them.
func (c *Conn) gather() { c.state.Or(gathering) }

// gathersLocked reports whether a message sent now may wait for the end of the turn: an earlier one was written in
// this turn, and the kernel has accepted it.
func (c *Conn) gathersLocked() bool {
	return c.state.Load()&(gathering|preceded|writing) == gathering|preceded
}

// scatter undoes gather. It is called when the turn ends or when a Run has taken too long.
func (c *Conn) scatter() {
	if c.state.And(^uint32(gathering|preceded))&preceded == 0 {
		return // nothing is held back
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeOutLocked()
}

// writeOutLocked writes the queue, and makes the carrier write the bytes that the kernel does not accept.
func (c *Conn) writeOutLocked() {
	if c.out == nil || c.has(corked) || !c.has(started) {
		return
	}
	c.flushLocked()
	if c.out != nil {
		c.carrier().watch(c)
	} else if c.has(closing) {
		c.signal()
	}
}

// flushLocked writes the first chunks of the queue, as far as the kernel accepts them.
func (c *Conn) flushLocked() {
	if c.out == nil {
		return
	}
	n, err := c.carrier().writeQueue(c)
	if err != nil {
		c.writeFailedLocked(err)
		return
	}
	c.advanceLocked(n)
}

// advanceLocked removes n written bytes from the queue, and releases an empty queue.
func (c *Conn) advanceLocked(n int) {
	c.out.advance(n)
	if c.out.size == 0 {
		c.out.pushPong()
	}
	if c.out.size == 0 {
		c.out.release()
		c.out = nil
	}
}

// writeFailedLocked is called after a failed write. If the peer is gone, messages and a close frame may still be
// unread; the end of the connection is found after them.
func (c *Conn) writeFailedLocked(err error) {
	c.discardLocked()
	if !peerGone(err) || c.has(closing) {
		c.endLocked(broken, lostError(err))
		return
	}
	c.state.Or(mute)
	c.resumeLocked()
}

// discardLocked drops the queue.
func (c *Conn) discardLocked() {
	if c.out != nil {
		c.out.discard()
		c.out = nil
	}
}
