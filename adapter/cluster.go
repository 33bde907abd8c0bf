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
// A message reaches each of the nodes it is for at most once. Messages that one node publishes on one channel arrive in
// the order in which they were published. A message may be lost: requests have time-outs for that. A backend that can
// count nodes is a [Counter], and one that keeps broadcasts for clients that come back is a [Keeper].
type Backend interface {
	// Start begins to receive, and connects in the background if need be. It does not block. From then on until Close
	// returns, each message of another node is handed to n.
	Start(n Node)

	// Encode returns m as Publish sends it. It is called by any number of goroutines at once, does not block, and keeps
	// nothing of m.
	Encode(m *Message) (Outgoing, error)

	// Publish sends messages in this order and returns how many were sent. The others are not tried again. It is called
	// by one goroutine at a time, and may block until ctx ends.
	Publish(ctx context.Context, batch []Outgoing) (sent int, err error)

	// Close releases what the backend holds. It is called once, after the last Publish has returned or has been given up.
	Close(ctx context.Context) error
}

// Counter is a Backend that knows how many nodes there are. The nodes of any other backend find each other by heartbeats.
type Counter interface {
	Backend

	// ServerCount returns the number of nodes, this one included. It may block until ctx ends.
	ServerCount(ctx context.Context) (int, error)
}

// Outgoing is a message on its way to a backend.
type Outgoing struct {
	Type    MessageType
	Channel string // whatever the backend sends it to
	Payload []byte // belongs to the Outgoing
}

// size is what an Outgoing counts in the queue, in bytes.
func (o *Outgoing) size() int { return len(o.Payload) + len(o.Channel) + 64 }

var (
	// ErrClosed is returned for a request of an adapter that has been closed.
	ErrClosed = errors.New("adapter: closed")
	// ErrQueueFull is returned for a request that the backend is too slow for.
	ErrQueueFull = errors.New("adapter: too much is waiting for the other nodes")
)

// ClusterOptions configure a Cluster. The zero value gives the defaults.
type ClusterOptions struct {
	// Memory configures the half of the adapter that concerns this node. Nil means its defaults. If
	// Memory.Recovery is set and the backend does not keep packets, clients can resume their session on the node that
	// they were on.
	Memory *MemoryOptions

	// OffsetTimeout bounds how long an event waits for its offset before sockets of this node are sent it without one,
	// where the backend keeps packets for clients that come back. Events that are emitted by a hook, while events of other
	// nodes are being sent, wait that long, too. Zero means 1 s. The reference has no limit.
	OffsetTimeout time.Duration

	// RequestTimeout bounds the wait for other nodes where neither the context nor Flags.Timeout does. Zero means
	// 5 s. Node.js: requestsTimeout.
	RequestTimeout time.Duration

	// MaxQueuedBytes bounds what waits for a slow backend; further messages to other nodes are dropped,
	// counted and logged. Zero means 16 MiB. The reference has no limit.
	MaxQueuedBytes int

	// MaxPendingBytes bounds what has been received from other nodes and is not handled yet, in all namespaces that the
	// factory has made; one namespace may take half of it. A backend that has no room waits for a moment, Redis streams
	// until there is some; then further messages are dropped, counted and logged. Zero means 64 MiB. The reference has no
	// limit.
	MaxPendingBytes int

	// Heartbeat, if not nil, finds out by heartbeats which nodes there are.
	Heartbeat *HeartbeatOptions

	// Logger gets what an operator should know. Nil means slog.Default().
	Logger *slog.Logger
}

// HeartbeatOptions say how nodes tell each other that they are there. The zero value gives the defaults.
type HeartbeatOptions struct {
	// Interval is the time between two heartbeats. Zero means 5 s. Node.js: heartbeatInterval.
	Interval time.Duration
	// Timeout is how long a node counts that has not been heard of. Zero means 10 s. Node.js: heartbeatTimeout.
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

// Cluster is the adapter of one namespace on a node of a cluster. It speaks the protocol of the reference's
// ClusterAdapter; a [Backend] carries the messages. It is safe for concurrent use.
//
// The sockets of this node are served at once, whether the backend works or not. Messages to other nodes wait in a
// queue, from which one goroutine at a time hands them to the backend while there are any.
//
// Server-side events of other nodes are handled one after the other, in the order in which they came. A handler that
// waits delays those that follow, but nothing else.
type Cluster struct {
	*local
	ns      Namespace
	opts    ClusterOptions
	uid     string
	tails   [2][]byte // of the messages of this node
	backend Backend
	counter Counter // the backend, or nil if nodes are counted by heartbeats
	keeper  Keeper  // the backend, or nil if it keeps nothing
	ready   chan struct{}
	begun   sync.Once // closes ready

	outbox   outbox
	rooms    roomChannels
	kept     kept
	requests requests
	nodes    nodes
	events   serverEvents
	fetching atomic.Int32 // requests of other nodes that are being answered
	closing  atomic.Bool
	figures  clusterFigures
	logs     clusterLogs
}

// local is the half of a Cluster that concerns the sockets of this node.
type local = Memory

var _ Adapter = (*Cluster)(nil)

// NewCluster returns the adapter of ns over b, which it starts. o may be nil. NewCluster neither blocks nor fails.
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

// newUID returns the id of a node or request: 8 random bytes in hexadecimal, as the reference has it.
func newUID() string {
	var raw [8]byte
	rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

// Ready returns a channel that is closed when the messages of other nodes arrive for the first time. A node that accepts
// no clients before misses none of the broadcasts to them. The channel stays open as long as the backend cannot be
// reached, so a wait for it needs a time limit; Close does not close it.
func (c *Cluster) Ready() <-chan struct{} { return c.ready }

// clusterNamespace is the namespace of a Cluster as its local half sees it.
type clusterNamespace struct {
	Namespace
	c *Cluster
}

// Recovery returns nil: clients cannot rely on coming back to the same node. See ClusterOptions.Memory.
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

// publish sends a message that no caller waits for. Errors are counted and logged.
func (c *Cluster) publish(m *Message) { _ = c.send(m) }

// send queues m for the backend. It returns ErrQueueFull, ErrClosed or an error of the encoding.
func (c *Cluster) send(m *Message) error {
	out, err := c.encode(m)
	if err != nil {
		return err
	}
	return c.enqueue(out)
}

// encode counts and logs errors.
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
	// closeTimeout bounds Close where its context does not.
	closeTimeout = 5 * time.Second
	// closeGrace is what Close may take when its context has ended, or is about to: what clients that have fallen silent
	// have used up is not to be missing for what other nodes are sent, and for the farewell, without which they wait.
	closeGrace = 500 * time.Millisecond
)

// Close implements [Adapter]. It waits until the backend has taken what is queued, or ctx ends; for that, half a second
// is left in any case. Requests that wait for other nodes return ErrClosed.
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

// closeContext returns the context of what a Close that is given ctx does.
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
