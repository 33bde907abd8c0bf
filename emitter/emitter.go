package emitter

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Publisher sends messages to the nodes of a cluster. It is for the packages of adapters. It is safe for concurrent use.
type Publisher interface {
	// Publish sends m. A nil error means that the backend has taken it. It returns at the latest when ctx ends.
	Publish(ctx context.Context, m *adapter.Message) error
}

// PublisherFunc is a Publisher that is a function.
type PublisherFunc func(ctx context.Context, m *adapter.Message) error

// Publish calls f.
func (f PublisherFunc) Publish(ctx context.Context, m *adapter.Message) error { return f(ctx, m) }

// Emitter is a selection of sockets of a namespace, on all nodes of a cluster, with what is to happen to a packet on its
// way. It is an immutable value: every method that refines it returns a new one, so that an Emitter can be kept,
// shared and used from any number of goroutines.
//
// Without a room it selects all sockets of the namespace; with rooms, the sockets that are in any of them, each once;
// always without those that are in a room of Except. The id of a socket is the name of a room with that one socket in it.
//
// Operations wait until the backend has taken the message, not for nodes or clients. They return what the backend has
// to say, or the error of the context; a message may have been sent nevertheless.
type Emitter struct {
	publisher Publisher
	ctx       context.Context
	namespace string
	opts      adapter.Options
}

// New returns an Emitter for all sockets of the namespace "/". Applications get one from the package of their adapter.
func New(p Publisher) Emitter {
	return Emitter{publisher: p, ctx: context.Background(), namespace: "/"}
}

// Of returns an Emitter for the same selection in another namespace. A leading slash that is missing is added.
func (e Emitter) Of(namespace string) Emitter {
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	e.namespace = namespace
	return e
}

// WithContext returns an Emitter whose operations end with ctx. Without a deadline in it, each ends after 10 s.
func (e Emitter) WithContext(ctx context.Context) Emitter {
	e.ctx = ctx
	return e
}

// To adds rooms to the selection.
func (e Emitter) To(rooms ...string) Emitter {
	e.opts.Rooms = append(slices.Clip(e.opts.Rooms), rooms...)
	return e
}

// In is another word for To.
func (e Emitter) In(rooms ...string) Emitter { return e.To(rooms...) }

// Except leaves out the sockets that are in any of rooms.
func (e Emitter) Except(rooms ...string) Emitter {
	e.opts.Except = append(slices.Clip(e.opts.Except), rooms...)
	return e
}

// Volatile drops the packet for clients that cannot be written to at once.
func (e Emitter) Volatile() Emitter {
	e.opts.Flags.Volatile = true
	return e
}

// Compress says whether transports may compress the packet, which is the default.
func (e Emitter) Compress(compress bool) Emitter {
	e.opts.Flags.NoCompress = !compress
	return e
}

// Emit sends an event to the selected sockets. Arguments are encoded as [parser.AppendArgs] does; byte slices anywhere in
// them become binary attachments. They are not kept. Acknowledgements are not supported.
//
// It returns a *[parser.ReservedEventError], an error of the encoding, or one of the backend.
func (e Emitter) Emit(event string, args ...any) error {
	if parser.ReservedEvent(event) {
		return &parser.ReservedEventError{Event: event}
	}
	return e.publishEvent(&adapter.Message{Type: adapter.MessageBroadcast, Options: e.opts}, event, args)
}

// SocketsJoin puts the selected sockets into rooms.
func (e Emitter) SocketsJoin(rooms ...string) error {
	return e.publish(&adapter.Message{Type: adapter.MessageSocketsJoin, Options: e.opts, Rooms: rooms})
}

// SocketsLeave takes the selected sockets out of rooms.
func (e Emitter) SocketsLeave(rooms ...string) error {
	return e.publish(&adapter.Message{Type: adapter.MessageSocketsLeave, Options: e.opts, Rooms: rooms})
}

// DisconnectSockets disconnects the selected sockets from the namespace and, if closeConn is true, closes the connections
// of their clients.
func (e Emitter) DisconnectSockets(closeConn bool) error {
	return e.publish(&adapter.Message{Type: adapter.MessageDisconnectSockets, Options: e.opts, CloseConn: closeConn})
}

// ServerSideEmit sends an event to the nodes themselves, where OnServerEvent of the namespace receives it. The selection of
// sockets does not matter. It returns the errors of Emit.
func (e Emitter) ServerSideEmit(event string, args ...any) error {
	if parser.ReservedServerEvent(event) {
		return &parser.ReservedEventError{Event: event}
	}
	return e.publishEvent(&adapter.Message{Type: adapter.MessageServerSideEmit}, event, args)
}

func (e Emitter) publishEvent(m *adapter.Message, event string, args []any) error {
	data, attachments, err := parser.AppendEvent(nil, nil, event, args...)
	if err != nil {
		return err
	}
	m.Value = parser.Value{Data: data, Attachments: attachments}
	return e.publish(m)
}

// publishTimeout is how long an operation takes at most if its context has no deadline.
const publishTimeout = 10 * time.Second

func (e Emitter) publish(m *adapter.Message) error {
	ctx := e.ctx
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, publishTimeout)
		defer cancel()
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.UID, m.Namespace = adapter.EmitterUID, e.namespace
	return e.publisher.Publish(ctx, m)
}
