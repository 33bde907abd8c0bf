package emitter

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Publisher sends messages to the nodes of a cluster. Adapter packages implement it. It is safe for concurrent use.
type Publisher interface {
	// Publish sends m. It returns nil when the backend has accepted m. It returns no later than when ctx is done.
	Publish(ctx context.Context, m *adapter.Message) error
}

// PublisherFunc is an adapter to use a function as a Publisher.
type PublisherFunc func(ctx context.Context, m *adapter.Message) error

// Publish calls f.
func (f PublisherFunc) Publish(ctx context.Context, m *adapter.Message) error { return f(ctx, m) }

// Emitter is a selection of sockets of a namespace on all nodes of a cluster, together with flags for the packets. It is an
// immutable value: each refining method returns a new Emitter. An Emitter is safe for concurrent use.
//
// Without rooms it selects all sockets of the namespace; with rooms, all sockets in any of the rooms, each once. Sockets in
// a room of Except are left out. To select a single socket, use its id as the room.
//
// Operations wait until the backend has accepted the message. They do not wait for nodes or clients. They return the
// backend's error or the cause of the context; the message may have been sent nevertheless.
type Emitter struct {
	publisher Publisher
	ctx       context.Context
	namespace string
	opts      adapter.Options
}

// New returns an Emitter for all sockets of the namespace "/". Applications call NewEmitter of their adapter package
// instead.
func New(p Publisher) Emitter {
	return Emitter{publisher: p, ctx: context.Background(), namespace: "/"}
}

// Of returns an Emitter for the same selection in another namespace. It adds a missing leading slash.
func (e Emitter) Of(namespace string) Emitter {
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	e.namespace = namespace
	return e
}

// WithContext returns an Emitter whose operations end when ctx is done. If ctx has no deadline, each operation is limited
// to 10 s.
func (e Emitter) WithContext(ctx context.Context) Emitter {
	e.ctx = ctx
	return e
}

// To adds rooms to the selection.
func (e Emitter) To(rooms ...string) Emitter {
	e.opts.Rooms = append(slices.Clip(e.opts.Rooms), rooms...)
	return e
}

// In is a synonym of To.
func (e Emitter) In(rooms ...string) Emitter { return e.To(rooms...) }

// Except excludes the sockets in any of rooms.
func (e Emitter) Except(rooms ...string) Emitter {
	e.opts.Except = append(slices.Clip(e.opts.Except), rooms...)
	return e
}

// Volatile drops the packet for clients that cannot receive it immediately.
func (e Emitter) Volatile() Emitter {
	e.opts.Flags.Volatile = true
	return e
}

// Compress sets whether transports may compress the packet. The default is true.
func (e Emitter) Compress(compress bool) Emitter {
	e.opts.Flags.NoCompress = !compress
	return e
}

// Emit sends an event to the selected sockets. Arguments are encoded as by [parser.AppendArgs]; byte slices anywhere in
// them become binary attachments. Emit does not retain args. Acknowledgements are not supported.
//
// It returns a *[parser.ReservedEventError], an encoding error, or an error of the backend.
func (e Emitter) Emit(event string, args ...any) error {
	if parser.ReservedEvent(event) {
		return &parser.ReservedEventError{Event: event}
	}
	return e.publishEvent(&adapter.Message{Type: adapter.MessageBroadcast, Options: e.opts}, event, args)
}

// SocketsJoin adds the selected sockets to rooms.
func (e Emitter) SocketsJoin(rooms ...string) error {
	return e.publish(&adapter.Message{Type: adapter.MessageSocketsJoin, Options: e.opts, Rooms: rooms})
}

// SocketsLeave removes the selected sockets from rooms.
func (e Emitter) SocketsLeave(rooms ...string) error {
	return e.publish(&adapter.Message{Type: adapter.MessageSocketsLeave, Options: e.opts, Rooms: rooms})
}

// DisconnectSockets disconnects the selected sockets from the namespace and, if closeConn is true, closes the connections
// of their clients.
func (e Emitter) DisconnectSockets(closeConn bool) error {
	return e.publish(&adapter.Message{Type: adapter.MessageDisconnectSockets, Options: e.opts, CloseConn: closeConn})
}

// ServerSideEmit sends an event to the nodes themselves. Handlers set with the namespace's OnServerEvent receive it. The
// selection of sockets is ignored. It returns the same errors as Emit.
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

// publishTimeout limits an operation whose context has no deadline.
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
