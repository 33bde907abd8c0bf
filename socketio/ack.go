package socketio

import (
	"github.com/myriad-rt/myriad/socketio/parser"
)

// ackWaiter waits for one acknowledgement: by a function, or by a channel with room for it, which is closed if
// the socket leaves first.
type ackWaiter struct {
	do     func(Args)
	answer chan<- Args
}

// expect registers w for the acknowledgement id. It reports false if the socket has left.
func (s *Socket) expect(id uint64, w ackWaiter) bool {
	x := s.more()
	x.mu.Lock()
	if s.status.state() >= stateLeaving {
		x.mu.Unlock()
		return false
	}
	if x.acks == nil {
		x.acks = make(map[uint64]ackWaiter)
	}
	x.acks[id] = w
	first := len(x.acks) == 1
	x.mu.Unlock()
	if first {
		s.client.await(1)
	}
	return true
}

// takeAck removes and returns the waiter for the acknowledgement id.
func (s *Socket) takeAck(id uint64) (w ackWaiter, ok bool) {
	x := s.extra.Load()
	if x == nil {
		return ackWaiter{}, false
	}
	x.mu.Lock()
	w, ok = x.acks[id]
	delete(x.acks, id)
	last := ok && len(x.acks) == 0
	x.mu.Unlock()
	if last {
		s.client.await(-1)
	}
	return w, ok
}

// handleAck passes an ACK packet to its waiter. It ignores unknown ids. It keeps the attachments of p, but not p. It
// does not block, and does not use the queue, so a handler may wait for an acknowledgement.
func (s *Socket) handleAck(p *parser.Packet) {
	w, ok := s.takeAck(p.ID)
	if !ok {
		return
	}
	args := Args{Data: append([]byte(nil), p.Data...), Attachments: p.Attachments}
	if w.do != nil {
		w.do(args)
	} else {
		w.answer <- args
	}
}

// loseAcksLocked ends the waits of callers whose socket has left, and reports whether there were any waits. Broadcasts go on
// waiting until their deadline, as with the reference.
func (x *extra) loseAcksLocked() (any bool) {
	any = len(x.acks) > 0
	for _, w := range x.acks {
		if w.answer != nil {
			close(w.answer)
		}
	}
	x.acks = nil
	return any
}

// sendAck answers an event of the client.
func (s *Socket) sendAck(id uint64, args []any) error {
	p, err := parser.NewAck(s.ns.name, id, args)
	if err != nil {
		return err
	}
	defer p.Release()
	return s.write(p, false)
}
