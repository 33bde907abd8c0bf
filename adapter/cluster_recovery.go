package adapter

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// Keeper is a Backend that stores published broadcasts and sessions, so that a client can resume its session on any node. If
// the namespace recovers, the Keeper passes stored broadcasts of other nodes to Node.Receive with their offset, and those of
// this node to Node.ReceiveOwn, one at a time, in the order of the offsets, without a lock. Node.Recovery returns the
// options.
type Keeper interface {
	Backend

	// PersistSession is like Adapter.PersistSession.
	PersistSession(*Session) error
	// TakeSession removes and returns the session with this secret. It returns nil if there is none or if packets after
	// offset are no longer stored.
	TakeSession(ctx context.Context, pid, offset string) (*Session, error)
	// CatchUp calls join, unless it returns an error, with the packets for s after offset, oldest first, up to the last
	// broadcast passed to the Node. No other broadcast is passed before join has returned. join does not block.
	CatchUp(ctx context.Context, s *Session, offset string, join func(missed []*parser.Packet)) error
}

// Recovery returns the options for a Keeper, or nil if it need not store anything.
func (n Node) Recovery() *RecoveryOptions {
	if n.c.keeper == nil {
		return nil
	}
	o := n.c.ns.Recovery().withDefaults()
	return &o
}

// kept is the state of a Cluster with a Keeper for broadcasts with an offset.
type kept struct {
	mu      sync.Mutex
	returns bool // whether this node's broadcasts return
	waiting []*returning
}

// returning is a broadcast of this node that has not come back from the Keeper with its offset yet. It is delivered
// afterwards, so that all clients receive broadcasts in the order of the offsets. Otherwise, the last offset that a client
// has seen might hide an earlier broadcast that it has missed.
type returning struct {
	packet  *parser.Packet
	options Options
	payload []byte // identifies it
	back    chan returned
}

// returned is the outcome of a broadcast of this node.
type returned struct {
	to  *snapshot // sockets to be flushed; nil if the packet must be delivered without an offset
	err error
}

// broadcastKept publishes p and waits until it has come back and can be sent to the sockets of this node. If publishing
// fails, or takes too long, they are sent p without an offset.
func (c *Cluster) broadcastKept(p *parser.Packet, o Options) error {
	out, err := c.encode(&Message{Type: MessageBroadcast, Options: o, Value: packetValue(p)})
	if err != nil {
		return c.local.Broadcast(p, o)
	}
	w := c.kept.expect(p, o, out.Payload)
	if err := c.enqueue(out); err != nil {
		c.kept.stop()
	}
	if w == nil {
		return c.local.Broadcast(p, o)
	}
	timer := time.NewTimer(c.opts.OffsetTimeout)
	defer timer.Stop()
	var back returned
	select {
	case back = <-w.back:
	case <-timer.C:
		c.kept.stop()
		back = <-w.back
	}
	if back.to == nil {
		return c.local.Broadcast(p, o)
	}
	back.to.flush()
	return back.err
}

// expect returns nil if broadcasts do not come back at present.
func (k *kept) expect(p *parser.Packet, o Options, payload []byte) *returning {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.returns {
		return nil
	}
	w := &returning{packet: p, options: o, payload: payload, back: make(chan returned, 1)}
	k.waiting = append(k.waiting, w)
	return w
}

// take returns the first that has this payload, or nil. Whatever comes back shows that they do.
func (k *kept) take(payload string) *returning {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.returns = true
	for i, w := range k.waiting {
		if string(w.payload) == payload {
			k.waiting = slices.Delete(k.waiting, i, i+1)
			return w
		}
	}
	return nil
}

// stop ends all waits. Until broadcasts return again, no broadcast waits.
func (k *kept) stop() {
	k.mu.Lock()
	waiting := k.waiting
	k.returns, k.waiting = false, nil
	k.mu.Unlock()
	for _, w := range waiting {
		w.back <- returned{}
	}
}

// ReceiveOwn takes back a broadcast of this node, by the payload of its Outgoing, with its offset. It does not block.
func (n Node) ReceiveOwn(payload, offset string) {
	w := n.c.kept.take(payload)
	if w == nil {
		return // it was late, and has been delivered
	}
	var r returned
	r.to, r.err = n.c.enqueueKept(w.packet, w.options, offset)
	w.back <- r
}

// enqueueKept puts p, with this offset, into the queues of the sockets that o selects. The caller has to flush them, and
// does not use p any more.
func (c *Cluster) enqueueKept(p *parser.Packet, o Options, offset string) (to *snapshot, err error) {
	p = WithOffset(p, offset)
	c.local.order.Lock()
	defer c.local.order.Unlock()
	return c.local.enqueueLocked(p, o)
}

// Returning reports whether a Keeper currently delivers the broadcasts that it stores.
func (n Node) Returning(on bool) {
	k := &n.c.kept
	if !on {
		k.stop()
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.returns = n.c.keeper != nil
}

// WithOffset returns p with its offset as the last argument. A client that resumes its session reports the last offset that
// it has seen. p must not be used afterwards.
func WithOffset(p *parser.Packet, offset string) *parser.Packet {
	with := *p
	with.AppendString(offset)
	return &with
}

// Recovers implements [Adapter].
func (c *Cluster) Recovers() bool { return c.keeper != nil || c.local.Recovers() }

// PersistSession implements [Adapter].
func (c *Cluster) PersistSession(s *Session) error {
	if c.keeper == nil {
		return c.local.PersistSession(s)
	}
	return c.complain(c.keeper.PersistSession(s))
}

// complain logs an error of a Keeper, which many clients may cause at once.
func (c *Cluster) complain(err error) error {
	if err != nil {
		c.logs.sessions.warn("sessions cannot be kept or restored", err)
	}
	return err
}

// RestoreSession implements [Adapter].
func (c *Cluster) RestoreSession(ctx context.Context, pid, offset string) (*Restored, error) {
	if c.keeper == nil {
		return c.local.RestoreSession(ctx, pid, offset)
	}
	ctx, cancel := c.bounded(ctx, Options{})
	defer cancel()
	s, err := c.keeper.TakeSession(ctx, pid, offset)
	if s == nil || err != nil {
		return nil, c.complain(err)
	}
	return &Restored{Session: *s, Resume: func(ctx context.Context, socket Socket, open func(iter.Seq[*parser.Packet]) bool) (resumed bool, err error) {
		ctx, cancel := c.bounded(ctx, Options{})
		defer cancel()
		var events []RoomEvent
		err = c.keeper.CatchUp(ctx, s, offset, func(missed []*parser.Packet) {
			events, resumed = c.local.resume(socket, s.Rooms, func() bool { return open(slices.Values(missed)) })
		})
		c.local.tell(events)
		return resumed, c.complain(err)
	}}, nil
}
