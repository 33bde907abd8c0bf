package adapter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// Backend carries messages between the nodes of one namespace. [Cluster] is the rest of an adapter.
//
// A message reaches each receiving node at most once. Messages published by one node on one channel arrive in order. A
// message may be lost, so requests have time-outs. A backend that can count nodes also implements [Counter], and a backend
// that stores broadcasts for returning clients also implements [Keeper].
type Backend interface {
	// Start begins to receive. It connects in the background if necessary and does not block. Until Close returns, the
	// backend passes each message of another node to n.
	Start(n Node)

	// Encode encodes m for Publish. It must be safe for concurrent use, must not block, and must not retain m.
	Encode(m *Message) (Outgoing, error)

	// Publish sends messages in order and returns the number of sent messages. The others are not retried. It is called by
	// one goroutine at a time and may block until ctx is done.
	Publish(ctx context.Context, batch []Outgoing) (sent int, err error)

	// Close releases the resources of the backend. It is called once, after the last Publish has returned or been abandoned.
	Close(ctx context.Context) error
}

// Counter is a Backend that can count nodes. With other backends, nodes discover each other by heartbeats.
type Counter interface {
	Backend

	// ServerCount returns the number of nodes, including this one. It may block until ctx is done.
	ServerCount(ctx context.Context) (int, error)
}

// Outgoing is an encoded message for a backend.
type Outgoing struct {
	Type    MessageType
	Channel string // the destination; its meaning depends on the backend
	Payload []byte // belongs to the Outgoing
}

// size returns the size of out in the queue, in bytes.
func (o *Outgoing) size() int { return len(o.Payload) + len(o.Channel) + 64 }

var (
	// ErrClosed reports a request on a closed adapter.
	ErrClosed = errors.New("adapter: closed")
	// ErrQueueFull reports that the queue of messages to other nodes is full because the backend is too slow.
	ErrQueueFull = errors.New("adapter: too many bytes wait for other nodes")
)

// ClusterOptions configures a Cluster. The zero value selects the defaults.
type ClusterOptions struct {
	// Memory configures the local half of the adapter. Nil selects its defaults. If Memory.Recovery is set and the backend
	// does not store packets, clients can resume their session on their previous node only.
	Memory *MemoryOptions

	// OffsetTimeout limits the wait of an event for its offset, if the backend stores packets for returning clients. After
	// that, local sockets receive the event without an offset. Events emitted by a hook during the delivery of other nodes'
	// events also wait that long. Zero means 1 s. The reference has no limit.
	OffsetTimeout time.Duration

	// RequestTimeout limits the wait for other nodes if neither the context nor Flags.Timeout does. Zero means 5 s. Node.js:
	// requestsTimeout.
	RequestTimeout time.Duration

	// MaxQueuedBytes is the maximum size of the messages waiting for a slow backend. Further messages to other nodes are
	// dropped, counted and logged. Zero means 16 MiB. The reference has no limit.
	MaxQueuedBytes int

	// MaxPendingBytes is the maximum size of the received but unhandled messages of other nodes, over all namespaces of the
	// factory. One namespace may use half of it. At the limit, a backend waits for a moment, or indefinitely with Redis
	// streams; then further messages are dropped, counted and logged. Zero means 64 MiB. The reference has no limit.
	MaxPendingBytes int

	// Heartbeat, if not nil, enables the discovery of nodes by heartbeats.
	Heartbeat *HeartbeatOptions

	// Logger receives messages for the operator. Nil means slog.Default().
	Logger *slog.Logger
}

// HeartbeatOptions configures heartbeats between nodes. The zero value selects the defaults.
type HeartbeatOptions struct {
	// Interval is the time between two heartbeats. Zero means 5 s. Node.js: heartbeatInterval.
	Interval time.Duration
	// Timeout is the time after which a silent node no longer counts. Zero means 10 s. Node.js: heartbeatTimeout.
	Timeout time.Duration
}

func (o *ClusterOptions) withDefaults() ClusterOptions {
	var c ClusterOptions
	if o != nil {
		c = *o
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = 5 * time.Second
	}
	if c.MaxQueuedBytes <= 0 {
		c.MaxQueuedBytes = 16 << 20
	}
	var h HeartbeatOptions
	if c.Heartbeat != nil {
		h = *c.Heartbeat
	}
	if h.Interval <= 0 {
		h.Interval = 5 * time.Second
	}
	if h.Timeout <= 0 {
		h.Timeout = 10 * time.Second
	}
	c.Heartbeat = &h
	if c.OffsetTimeout <= 0 {
		c.OffsetTimeout = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Cluster is the adapter of one namespace on a node of a cluster. It implements the protocol of the reference's
// ClusterAdapter; a [Backend] carries the messages. It is safe for concurrent use.
//
// Local sockets are served at once, even if the backend is down. Messages to other nodes wait in a queue. While the queue is
// not empty, one goroutine passes them to the backend.
//
// Server-side events of other nodes are handled one after the other, in order of arrival. A blocking handler delays later
// server-side events, but nothing else.
type Cluster struct {
	*local
	ns      Namespace
	opts    ClusterOptions
	uid     string
	tails   [2][]byte // the last bytes of this node's messages
	backend Backend
	counter Counter // the backend, or nil if nodes are counted by heartbeats
	keeper  Keeper  // the backend, or nil if it does not store broadcasts
	ready   chan struct{}
	begun   sync.Once // closes ready

	outbox   outbox
	rooms    roomChannels
	kept     kept
	requests requests
	nodes    nodes
	events   serverEvents
	fetching atomic.Int32 // requests of other nodes being answered
	closing  atomic.Bool
	figures  clusterFigures
	logs     clusterLogs
}

// local is the local half of a Cluster.
type local = Memory

var _ Adapter = (*Cluster)(nil)

// NewCluster returns an adapter of ns over b and starts b. o may be nil. NewCluster neither blocks nor fails.
func NewCluster(ns Namespace, o *ClusterOptions, b Backend) *Cluster {
	c := &Cluster{ns: ns, opts: o.withDefaults(), uid: newUID(), backend: b, ready: make(chan struct{})}
	c.tails = messageTails(c.uid, ns.Name())
	c.logs.init(c.opts.Logger, ns.Name())
	c.outbox.init(c)
	if counter, ok := b.(Counter); ok && (o == nil || o.Heartbeat == nil) {
		c.counter = counter
	}
	var memory MemoryOptions
	if c.opts.Memory != nil {
		memory = *c.opts.Memory
	}
	if k, ok := b.(Keeper); ok && ns.Recovery() != nil {
		c.keeper, memory.Recovery = k, nil
	}
	c.local = NewMemory(clusterNamespace{ns, c}, &memory)
	b.Start(Node{c})
	if c.counter == nil {
		c.startHeartbeats()
	}
	return c
}

// newUID returns the id of a node or request: 8 random bytes in hexadecimal, as in the reference.
func newUID() string {
	var raw [8]byte
	rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

// Ready returns a channel that is closed when the node can first receive messages of other nodes. If the node accepts no
// clients before, they miss no broadcasts. The channel stays open while the backend is unreachable, so a wait for it needs a
// time limit. Close does not close it.
func (c *Cluster) Ready() <-chan struct{} { return c.ready }

// clusterNamespace is the namespace that the local half of a Cluster sees.
type clusterNamespace struct {
	Namespace
	c *Cluster
}

// Recovery returns nil, because clients may return to another node. See ClusterOptions.Memory.
func (n clusterNamespace) Recovery() *RecoveryOptions { return nil }

func (n clusterNamespace) HandleRoomEvent(e RoomEvent) {
	if e.Kind == RoomCreated || e.Kind == RoomDeleted {
		n.c.rooms.update(e.Room)
	}
	n.Namespace.HandleRoomEvent(e)
}

// Broadcast implements [Adapter].
func (c *Cluster) Broadcast(p *parser.Packet, o Options) error {
	if c.keeper != nil && !o.Flags.Local && !o.Flags.Volatile && !p.HasID {
		return c.broadcastKept(p, o)
	}
	if !o.Flags.Local {
		c.publish(&Message{Type: MessageBroadcast, Options: o, Value: packetValue(p)})
	}
	return c.local.Broadcast(p, o)
}

func packetValue(p *parser.Packet) parser.Value {
	return parser.Value{Data: p.Data, Attachments: p.Attachments}
}

// AddSockets implements [Adapter].
func (c *Cluster) AddSockets(o Options, rooms ...string) error {
	if !o.Flags.Local {
		c.publish(&Message{Type: MessageSocketsJoin, Options: o, Rooms: rooms})
	}
	return c.local.AddSockets(o, rooms...)
}

// RemoveSockets implements [Adapter].
func (c *Cluster) RemoveSockets(o Options, rooms ...string) error {
	if !o.Flags.Local {
		c.publish(&Message{Type: MessageSocketsLeave, Options: o, Rooms: rooms})
	}
	return c.local.RemoveSockets(o, rooms...)
}

// DisconnectSockets implements [Adapter].
func (c *Cluster) DisconnectSockets(o Options, closeConn bool) error {
	if !o.Flags.Local {
		c.publish(&Message{Type: MessageDisconnectSockets, Options: o, CloseConn: closeConn})
	}
	return c.local.DisconnectSockets(o, closeConn)
}

// ServerSideEmit implements [Adapter].
func (c *Cluster) ServerSideEmit(args parser.Args) error {
	c.publish(&Message{Type: MessageServerSideEmit, Value: parser.Value(args)})
	return nil
}

// publish sends a message without reporting errors to the caller. Errors are counted and logged.
func (c *Cluster) publish(m *Message) { _ = c.send(m) }

// send queues m for the backend. It returns ErrQueueFull, ErrClosed or an encoding error.
func (c *Cluster) send(m *Message) error {
	out, err := c.encode(m)
	if err != nil {
		return err
	}
	return c.enqueue(out)
}

// encode encodes m. It counts and logs errors.
func (c *Cluster) encode(m *Message) (Outgoing, error) {
	m.UID, m.Namespace = c.uid, c.ns.Name()
	out, err := c.backend.Encode(m)
	if err != nil {
		c.figures.failed.Add(1)
		c.logs.failed.warn("message to other nodes cannot be encoded", err)
	}
	return out, err
}

// enqueue queues out for the backend. It counts and logs ErrQueueFull.
func (c *Cluster) enqueue(out Outgoing) error {
	err := c.outbox.add(out)
	if errors.Is(err, ErrQueueFull) {
		c.figures.dropped.Add(1)
		c.logs.dropped.warn("message to other nodes dropped", err)
	}
	return err
}

const (
	// closeTimeout limits Close if its context has no deadline.
	closeTimeout = 5 * time.Second
	// closeGrace is the minimum time for publishing queued messages in Close, even if its context has ended. Without the
	// farewell, other nodes would wait for this one.
	closeGrace = 500 * time.Millisecond
)

// Close implements [Adapter]. It waits until the backend has accepted the queued messages or ctx is done, but always allows
// half a second for that. Requests that wait for other nodes return ErrClosed.
func (c *Cluster) Close(ctx context.Context) error {
	if c.closing.Swap(true) {
		return nil
	}
	ctx, cancel := closeContext(ctx)
	defer cancel()
	c.requests.close()
	if c.counter == nil {
		c.stopHeartbeats()
	}
	c.events.close()
	err := c.outbox.close(ctx)
	c.kept.stop()
	c.rooms.close()
	return errors.Join(err, c.backend.Close(ctx), c.local.Close(ctx))
}

// closeContext returns the context for the work of Close(ctx).
func closeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	switch {
	case ctx.Err() != nil:
		return context.WithTimeoutCause(context.WithoutCancel(ctx), closeGrace, context.Cause(ctx))
	case ok && time.Until(end) < closeGrace:
		return context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	case !ok:
		return context.WithTimeout(ctx, closeTimeout)
	}
	return ctx, func() {}
}
