package socketio

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Emitter sends events to one socket with certain options. It is an immutable value, like Broadcast.
type Emitter struct {
	s     *Socket
	flags adapter.Flags
}

// Volatile drops packets if the client cannot receive them immediately; see [Broadcast.Volatile].
func (e Emitter) Volatile() Emitter {
	e.flags.Volatile = true
	return e
}

// Compress sets whether transports may compress the packets. They may by default.
func (e Emitter) Compress(compress bool) Emitter {
	e.flags.NoCompress = !compress
	return e
}

// Timeout bounds the wait for acknowledgements. Zero means that only the context bounds it.
func (e Emitter) Timeout(d time.Duration) Emitter {
	e.flags.Timeout = d
	return e
}

// Broadcast selects all other sockets of the namespace.
func (e Emitter) Broadcast() Broadcast {
	return Broadcast{ns: &e.s.ns.space, opts: adapter.Options{Except: []string{e.s.id}, Flags: e.flags}}
}

// To selects the other sockets in any of rooms.
func (e Emitter) To(rooms ...string) Broadcast { return e.Broadcast().To(rooms...) }

// Emit sends an event; see [Socket.Emit].
func (e Emitter) Emit(event string, args ...any) error {
	return e.send(event, args, 0, false)
}

// EmitWithAck sends an event and waits for the acknowledgement; see [Socket.EmitWithAck]. It returns ErrTimeout if
// Timeout ends the wait.
func (e Emitter) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	if e.flags.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, e.flags.Timeout, adapter.ErrTimeout)
		defer cancel()
	}
	id := e.s.ns.nextAckID()
	answer := make(chan Args, 1)
	if !e.s.expect(id, ackWaiter{answer: answer}) {
		return Args{}, ErrDisconnected
	}
	defer e.s.takeAck(id)
	if err := e.send(event, args, id, true); err != nil {
		return Args{}, err
	}
	e.s.client.uncork()
	select {
	case args, ok := <-answer:
		if !ok {
			return Args{}, ErrDisconnected
		}
		return args, nil
	case <-ctx.Done():
		return Args{}, context.Cause(ctx)
	}
}

func (e Emitter) send(event string, args []any, id uint64, hasID bool) error {
	s := e.s
	if err := checkEvent(event); err != nil {
		return err
	}
	keeps := s.ns.Recovers() && !hasID && !e.flags.Volatile
	if s.status.state() >= stateLeaving && !(keeps && s.status.marked(resumable)) {
		return ErrDisconnected
	}
	p, err := parser.NewEvent(s.ns.name, event, args)
	if err != nil {
		return err
	}
	defer p.Release()
	p.ID, p.HasID = id, hasID
	if keeps {
		// A broadcast keeps the packet for a client that has lost its connection, or is about to.
		return s.ns.adapter.Broadcast(p, adapter.Options{Rooms: []string{s.id}, Flags: e.flags})
	}
	if e.flags.Volatile && !s.client.takesVolatile() {
		return nil
	}
	s.tellOutgoing(p)
	err = s.write(p, e.flags.NoCompress)
	if errors.Is(err, engineio.ErrClosed) {
		return ErrDisconnected // the socket is about to learn of it
	}
	return err
}

// write encodes p and sends it to the client.
func (s *Socket) write(p *parser.Packet, noCompress bool) error {
	m, err := parser.EncodeMessage(s.ns.server.opts.Parser, p)
	if err != nil {
		return err
	}
	if m != p.Message {
		defer m.Release()
	}
	m.NoCompress = noCompress
	return s.client.send(m)
}

func (s *Socket) tellOutgoing(p *parser.Packet) {
	x := s.extra.Load()
	if x == nil {
		return
	}
	if fs := x.outgoing.all(); len(fs) > 0 {
		defer func() {
			// The sender, for example a broadcast, is not to blame.
			if p := recover(); p != nil {
				s.client.panicked(s, p, debug.Stack())
			}
		}()
		name, _, _ := parser.EventName(p.Data)
		for _, f := range fs {
			f(string(name), p.Args())
		}
	}
}
