package adapter

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// Keeper is a Backend that keeps the broadcasts that it publishes, and sessions, so that a client can resume its session
// on any node. If the namespace recovers, the Keeper hands what it has kept to Node.Receive with its offset, and the
// broadcasts of this node itself to Node.ReceiveOwn, all of them in the order of their offsets and one at a time.
// Node.Recovery says what is to be kept.
type Keeper interface {
	Backend
	// PersistSession is that of Adapter.
	PersistSession(*Session) error
	// RestoreSession is that of Adapter: what the backend hands over is either in Missed, or is handed over after
	// resume has returned.
	RestoreSession(ctx context.Context, pid, offset string, resume func(*Restored)) error
}

// returns are the broadcasts of this node that wait to come back from a Keeper with their offset. Delivering them only
// then gives every client of every node the same order, that of the offsets: otherwise the last one that a client has
// seen might hide one that it has not.
type returns struct {
	mu      sync.Mutex
	on      bool // they do come back
	waiting []*returning
}

// returning is one of them.
type returning struct {
	packet  *parser.Packet
	options Options
	payload []byte // by which it is recognised
	// delivered gets the error of the delivery, or errNotKept if there was none.
	delivered chan error
}

// Recovery returns what a Keeper is to keep; nil means nothing.
func (n Node) Recovery() *RecoveryOptions {
	if n.c.keeper == nil {
		return nil
	}
	o := n.c.ns.Recovery().withDefaults()
	return &o
}

// broadcastKept publishes p and waits until it is delivered here, which it is with its offset when it has come back. If
// that fails, or takes too long, it is delivered without one.
func (c *Cluster) broadcastKept(p *parser.Packet, o Options) error {
	out, err := c.encode(&Message{Type: MessageBroadcast, Options: o, Value: packetValue(p)})
	if err != nil {
		return c.local.Broadcast(p, o)
	}
	w := c.returns.expect(p, o, out.Payload)
	if err := c.enqueue(out); err != nil {
		c.returns.stop()
	}
	if w == nil {
		return c.local.Broadcast(p, o)
	}
	timer := time.NewTimer(c.opts.OffsetTimeout)
	defer timer.Stop()
	select {
	case err = <-w.delivered:
	case <-timer.C:
		c.returns.stop()
		err = <-w.delivered
	}
	if err == errNotKept {
		return c.local.Broadcast(p, o)
	}
	return err
}

// expect returns nil if broadcasts do not come back at present.
func (r *returns) expect(p *parser.Packet, o Options, payload []byte) *returning {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on {
		return nil
	}
	w := &returning{packet: p, options: o, payload: payload, delivered: make(chan error, 1)}
	r.waiting = append(r.waiting, w)
	return w
}

// take returns the first that has this payload, or nil. Whatever comes back shows that they do.
func (r *returns) take(payload string) *returning {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = true
	for i, w := range r.waiting {
		if string(w.payload) == payload {
			r.waiting = slices.Delete(r.waiting, i, i+1)
			return w
		}
	}
	return nil
}

// stop has nobody wait until broadcasts come back again.
func (r *returns) stop() {
	r.mu.Lock()
	waiting := r.waiting
	r.on, r.waiting = false, nil
	r.mu.Unlock()
	for _, w := range waiting {
		w.delivered <- errNotKept
	}
}

// ReceiveOwn takes back a broadcast of this node, by the payload of its Outgoing, with its offset. It does not block.
func (n Node) ReceiveOwn(payload, offset string) {
	w := n.c.returns.take(payload)
	if w == nil {
		return // it was late, and has been delivered
	}
	w.delivered <- n.c.local.Broadcast(WithOffset(w.packet, offset), w.options)
}

// Returning reports that a Keeper begins to hand over what it keeps, or cannot at present.
func (n Node) Returning(on bool) {
	r := &n.c.returns
	if !on {
		r.stop()
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = n.c.keeper != nil
}

// WithOffset returns p as clients get it that can resume their session behind it: with its offset as the last argument,
// by which clients say what they have seen. p must not be used afterwards.
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
func (c *Cluster) RestoreSession(ctx context.Context, pid, offset string, resume func(*Restored)) error {
	if c.keeper == nil {
		return c.local.RestoreSession(ctx, pid, offset, resume)
	}
	ctx, cancel := c.bounded(ctx, Options{})
	defer cancel()
	return c.complain(c.keeper.RestoreSession(ctx, pid, offset, resume))
}
