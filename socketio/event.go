package socketio

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// Event is an event sent by a client. Handlers may keep it. All methods are safe for concurrent use.
//
// Socket.IO protocol v5, "EVENT".
type Event struct {
	socket *Socket
	name   []byte
	args   Args
	data   []byte // a copy of the packet's payload, which name and args refer to
	id     uint64
	asked  bool // for an acknowledgement
	kept   bool // by a handler: not to be used again
	acked  atomic.Bool
}

func (e *Event) init(s *Socket, p *parser.Packet) {
	e.socket, e.id, e.asked = s, p.ID, p.HasID
	e.data = append(e.data[:0], p.Data...)
	name, rest, _ := parser.EventName(e.data)
	e.name, e.args = name, Args{Data: rest, Attachments: p.Attachments}
}

// Socket returns the socket that received the event.
func (e *Event) Socket() *Socket { return e.socket }

// Name returns the name of the event.
func (e *Event) Name() string { return string(e.name) }

// Args returns the arguments, without the name. To pass them on, use Emit(name, e.Args().Values()...): e.Args() alone
// is one argument, an array.
func (e *Event) Args() Args { return e.args }

// Bind decodes the arguments into the values that dst points to, as parser.Args.Bind does.
func (e *Event) Bind(dst ...any) error { return e.args.Bind(dst...) }

// WantsAck reports whether the client requested an acknowledgement.
func (e *Event) WantsAck() bool { return e.asked }

// Ack sends the acknowledgement. It returns ErrNotAsked if the client did not request one, and ErrAcked if it has
// already been sent; both can be ignored. Ack may be called after the handler has returned, as long as the session is
// open.
//
// Socket.IO protocol v5, "ACK".
func (e *Event) Ack(args ...any) error {
	if !e.asked {
		return ErrNotAsked
	}
	if e.acked.Swap(true) {
		return ErrAcked
	}
	return e.socket.sendAck(e.id, args)
}

// handler is one function registered for an event.
type handler struct {
	do    func(*Event)
	keeps bool // it may keep the Event
	once  *sync.Once
}

// handlers is a table of functions by event name. It is read without a lock; its maps and slices are never
// changed, but replaced.
type handlers struct {
	mu     sync.Mutex
	byName atomic.Pointer[map[string][]handler]
	any    list[func(*Event)]
}

// add panics if the name is reserved or there is no function.
func (h *handlers) add(name string, f handler) {
	if err := checkEvent(name); err != nil {
		panic(err.Error())
	}
	if f.do == nil {
		panic("socketio: nil event handler")
	}
	h.change(func(m map[string][]handler) {
		m[name] = append(slices.Clip(m[name]), f)
	})
}

func (h *handlers) remove(names ...string) {
	h.change(func(m map[string][]handler) {
		for _, name := range names {
			delete(m, name)
		}
		if len(names) == 0 {
			clear(m)
		}
	})
}

func (h *handlers) change(f func(map[string][]handler)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := map[string][]handler{}
	if old := h.byName.Load(); old != nil {
		m = maps.Clone(*old)
	}
	f(m)
	h.byName.Store(&m)
}

// named returns the handlers for an event.
func (h *handlers) named(name []byte) []handler {
	if m := h.byName.Load(); m != nil {
		return (*m)[string(name)]
	}
	return nil
}

// removeOnce removes the handlers for an event that are to be called once and returns those to call now.
func (h *handlers) removeOnce(name []byte, list []handler) []handler {
	var fired []*sync.Once
	list = slices.DeleteFunc(slices.Clone(list), func(f handler) bool {
		if f.once == nil {
			return false
		}
		mine := false
		f.once.Do(func() { mine = true })
		fired = append(fired, f.once)
		return !mine
	})
	h.change(func(m map[string][]handler) {
		rest := slices.DeleteFunc(slices.Clone(m[string(name)]), func(f handler) bool {
			return f.once != nil && slices.Contains(fired, f.once)
		})
		if len(rest) == 0 {
			delete(m, string(name))
		} else {
			m[string(name)] = rest
		}
	})
	return list
}

// Replace changes the name and the arguments of the event for the middleware and handlers that follow.
func (e *Event) Replace(name string, args ...any) error {
	data, attachments, err := parser.AppendEvent(nil, nil, name, args...)
	if err != nil {
		return err
	}
	e.data = data
	text, rest, _ := parser.EventName(data)
	e.name, e.args = text, Args{Data: rest, Attachments: attachments}
	return nil
}
