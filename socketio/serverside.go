package socketio

import (
	"context"
	"sync"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// ServerEvent is an event that another node of the cluster has emitted with ServerSideEmit.
type ServerEvent struct {
	name string
	args Args
	once sync.Once
	ack  func(Args)
}

// Name returns the name of the event.
func (e *ServerEvent) Name() string { return e.name }

// Args returns the arguments, without the name.
func (e *ServerEvent) Args() Args { return e.args }

// Bind decodes the arguments into the values that dst points to.
func (e *ServerEvent) Bind(dst ...any) error { return e.args.Bind(dst...) }

// Ack answers the node that emitted the event. Only the first call, and its first argument, count. Ack returns
// ErrNotAsked if the node does not wait for an answer.
func (e *ServerEvent) Ack(args ...any) error {
	if e.ack == nil {
		return ErrNotAsked
	}
	data, attachments, err := parser.AppendArgs(nil, nil, args...)
	if err != nil {
		return err
	}
	err = ErrAcked
	e.once.Do(func() {
		err = nil
		e.ack(Args{Data: data, Attachments: attachments})
	})
	return err
}

type serverHandlers struct {
	mu     sync.Mutex
	byName map[string][]func(*ServerEvent)
}

func checkServerEvent(name string) error {
	if parser.ReservedServerEvent(name) {
		return &ReservedEventError{Event: name}
	}
	return nil
}

// ServerSideEmit sends an event to the other nodes of the cluster, which receive it with OnServerEvent. It does not
// wait for them.
func (n *space) ServerSideEmit(event string, args ...any) error {
	packed, err := serverArgs(event, args)
	if err != nil {
		return err
	}
	return n.adapter.ServerSideEmit(packed)
}

// ServerSideEmitWithAck sends an event to the other nodes of the cluster and returns the first argument of each node's
// answer. If ctx ends the wait, it returns the answers received so far, and an error. Without a deadline in ctx, the
// wait ends after the adapter's RequestTimeout, 5 s by default.
func (n *space) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	packed, err := serverArgs(event, args)
	if err != nil {
		return nil, err
	}
	return n.adapter.ServerSideEmitWithAck(ctx, packed)
}

func serverArgs(event string, args []any) (Args, error) {
	if err := checkServerEvent(event); err != nil {
		return Args{}, err
	}
	data, attachments, err := parser.AppendEvent(nil, nil, event, args...)
	return Args{Data: data, Attachments: attachments}, err
}

// OnServerEvent registers f for an event that other nodes emit with ServerSideEmit. f may block, which delays later
// server-side events.
func (n *space) OnServerEvent(event string, f func(*ServerEvent)) {
	if err := checkServerEvent(event); err != nil {
		panic(err.Error())
	}
	if f == nil {
		panic("socketio: nil event handler")
	}
	h := &n.serverEvents
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byName == nil {
		h.byName = make(map[string][]func(*ServerEvent))
	}
	h.byName[event] = append(h.byName[event], f)
}

// serverSideEvent hands an event of another node to its handlers.
func (n *space) serverSideEvent(args Args, ack func(Args)) {
	name, rest, ok := parser.EventName(args.Data)
	if !ok {
		return
	}
	e := &ServerEvent{name: string(name), args: Args{Data: rest, Attachments: args.Attachments}, ack: ack}
	h := &n.serverEvents
	h.mu.Lock()
	fs := h.byName[e.name]
	h.mu.Unlock()
	for _, f := range fs {
		f(e)
	}
}
