package adapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/internal/msgpack"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Receive takes a message of another node, which belongs to it then. It does not block. Messages that a backend
// hands over one after the other are handled in this order. Those of this node itself, and those for another
// namespace, are ignored.
func (c *Cluster) Receive(m *Message) {
	if m.UID == c.uid || c.closing.Load() {
		return
	}
	c.figures.received.Add(1)
	if c.opts.Heartbeat != nil && m.Type != MessageAdapterClose {
		c.hear(m.UID, m.Type == MessageInitialHeartbeat)
	}
	if m.Namespace != "" && m.Namespace != c.ns.Name() {
		return
	}
	m.Options.Flags.Local = true // nothing is passed on
	switch m.Type {
	case MessageInitialHeartbeat:
		if c.opts.Heartbeat != nil {
			c.publish(&Message{Type: MessageHeartbeat})
		}
	case MessageAdapterClose:
		c.forget(m.UID)
	case MessageBroadcast:
		c.receiveBroadcast(m)
	case MessageSocketsJoin:
		_ = c.Memory.AddSockets(m.Options, m.Rooms...) // who asked for it cannot be told
	case MessageSocketsLeave:
		_ = c.Memory.RemoveSockets(m.Options, m.Rooms...) // never fails
	case MessageDisconnectSockets:
		_ = c.Memory.DisconnectSockets(m.Options, m.CloseConn) // never fails
	case MessageFetchSockets:
		c.receiveFetch(m)
	case MessageServerSideEmit:
		c.receiveServerEvent(m)
	default:
		c.receiveResponse(m)
	}
}

// ReceiveEncoded is Receive for a message as Append encodes it. What is none is reported; those of this node itself are not
// decoded. The payload must not change any more.
func (c *Cluster) ReceiveEncoded(payload []byte) {
	if c.IsOwn(payload) {
		return
	}
	m, err := DecodeMessage(payload)
	if err != nil {
		c.ReportMalformed(err)
		return
	}
	c.Receive(m)
}

// IsOwn reports whether payload, a message as Append encodes it, is one of this node's own. It looks at the end of it
// only: backends that hear what they say need not decode that.
func (c *Cluster) IsOwn(payload []byte) bool {
	for _, tail := range c.tails {
		if bytes.HasSuffix(payload, tail) {
			return true
		}
	}
	return false
}

// messageTails returns what the messages of a node end with, in JSON and in MessagePack.
func messageTails(uid, namespace string) [2][]byte {
	m := Message{Type: MessageHeartbeat, UID: uid, Namespace: namespace}
	text := m.Append(nil)
	packed := msgpack.AppendString(msgpack.AppendString(nil, "uid"), uid)
	packed = msgpack.AppendString(msgpack.AppendString(packed, "nsp"), namespace)
	return [2][]byte{text[bytes.Index(text, []byte(`,"uid":`)):], packed}
}

func (c *Cluster) receiveBroadcast(m *Message) {
	p := &parser.Packet{
		Type: parser.Event, Namespace: c.ns.Name(), Data: m.Value.Data, Attachments: m.Value.Attachments,
	}
	if m.RequestID == "" {
		m.Options.Flags.Timeout = 0
		if c.keeper != nil && m.Offset != "" && !m.Options.Flags.Volatile {
			p = withOffset(p, m.Offset)
		}
		if err := c.Memory.Broadcast(p, m.Options); err != nil {
			c.ReportMalformed(err)
		}
		return
	}
	// Other nodes want to hear how many clients there are before they hear of answers.
	a := &ackRelay{c: c, m: m}
	count, drop, err := c.Memory.BroadcastAcks(p, m.Options, a.add)
	if err != nil {
		c.ReportMalformed(err)
		return
	}
	c.respond(m, &Message{Type: MessageBroadcastClientCount, ClientCount: count})
	a.open()
	if count > 0 {
		time.AfterFunc(c.patience(m.Options.Flags.Timeout), drop)
	}
}

// patience is how long the clients of this node may take to answer another one: somewhat longer than that waits.
func (c *Cluster) patience(timeout time.Duration) time.Duration {
	if timeout <= 0 {
		timeout = c.opts.RequestTimeout
	}
	return timeout + time.Second
}

// ackRelay passes the answers of clients on to the node that asked for them, from the moment on when it is open.
type ackRelay struct {
	c *Cluster
	m *Message

	mu     sync.Mutex
	opened bool
	early  []parser.Args
}

func (a *ackRelay) add(answer parser.Args) {
	a.mu.Lock()
	opened := a.opened
	if !opened {
		a.early = append(a.early, answer)
	}
	a.mu.Unlock()
	if opened {
		a.pass(answer)
	}
}

func (a *ackRelay) open() {
	a.mu.Lock()
	early := a.early
	a.opened, a.early = true, nil
	a.mu.Unlock()
	for _, answer := range early {
		a.pass(answer)
	}
}

func (a *ackRelay) pass(answer parser.Args) {
	a.c.respond(a.m, &Message{Type: MessageBroadcastAck, Value: firstValue(answer)})
}

// firstValue returns what nodes tell each other of an acknowledgement: its first argument.
func firstValue(answer parser.Args) parser.Value {
	v, err := OwnValue(answer.At(0))
	if err != nil {
		return parser.Value{}
	}
	return v
}

// respond answers the node that sent m.
func (c *Cluster) respond(m, answer *Message) {
	answer.RequestID, answer.To = m.RequestID, m.UID
	c.publish(answer)
}

// maxFetching bounds the requests for sockets that are answered at the same time.
const maxFetching = 64

var errBusy = errors.New("too many at the same time")

// receiveFetch answers in a goroutine of its own: there may be very many sockets.
func (c *Cluster) receiveFetch(m *Message) {
	if c.fetching.Add(1) > maxFetching {
		c.fetching.Add(-1)
		c.tooMany("request for sockets ignored")
		return
	}
	go func() {
		defer c.fetching.Add(-1)
		found, _ := c.Memory.FetchSockets(context.Background(), m.Options) // never fails
		c.respond(m, &Message{Type: MessageFetchSocketsResponse, Sockets: found})
	}()
}

func (c *Cluster) tooMany(message string) {
	c.figures.dropped.Add(1)
	c.logs.busy.warn(message, errBusy)
}

// ReportDropped counts and logs n messages of other nodes for which there was no room.
func (c *Cluster) ReportDropped(n int) {
	c.figures.dropped.Add(uint64(n))
	c.logs.busy.warn("messages of other nodes dropped", errBusy)
}

// AwaitsAnything reports whether any request waits for answers: if none does, those that come are for other nodes.
func (c *Cluster) AwaitsAnything() bool {
	c.requests.mu.Lock()
	defer c.requests.mu.Unlock()
	return len(c.requests.byID) > 0
}

func (c *Cluster) receiveResponse(m *Message) {
	c.requests.update(m.RequestID, func(q *request) {
		switch m.Type {
		case MessageFetchSocketsResponse:
			q.sockets = append(q.sockets, m.Sockets...)
			q.answered(m.UID)
		case MessageServerSideEmitResponse:
			q.answers = append(q.answers, answerArgs(m.Value))
			q.answered(m.UID)
		case MessageBroadcastClientCount:
			q.clients += m.ClientCount
			q.answered(m.UID)
		case MessageBroadcastAck:
			q.answers = append(q.answers, answerArgs(m.Value))
		}
	})
}

// answerArgs returns the arguments of which v is the first, if it is one.
func answerArgs(v parser.Value) parser.Args {
	if v.Data == nil {
		return parser.Args{Data: []byte("[]")}
	}
	data := append(make([]byte, 0, len(v.Data)+2), '[')
	return parser.Args{Data: append(append(data, v.Data...), ']'), Attachments: v.Attachments}
}

// maxServerEvents bounds the events of other nodes that wait for a handler to return.
const maxServerEvents = 10_000

// serverEvents is the queue of events that other nodes have emitted for this one.
type serverEvents struct {
	mu      sync.Mutex
	waiting []*Message
	running bool
	closed  bool
}

func (c *Cluster) receiveServerEvent(m *Message) {
	added, start := c.events.add(m)
	if !added {
		c.tooMany("server-side event of another node ignored")
	}
	if start {
		go c.handleServerEvents()
	}
}

// add queues m and reports whether there was room for it, and whether a goroutine is needed.
func (e *serverEvents) add(m *Message) (added, start bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return true, false
	}
	if len(e.waiting) >= maxServerEvents {
		return false, false
	}
	start = !e.running
	e.waiting, e.running = append(e.waiting, m), true
	return true, start
}

func (c *Cluster) handleServerEvents() {
	for {
		e := &c.events
		e.mu.Lock()
		if len(e.waiting) == 0 || e.closed {
			e.running, e.waiting = false, nil
			e.mu.Unlock()
			return
		}
		m := e.waiting[0]
		e.waiting[0] = nil
		e.waiting = e.waiting[1:]
		e.mu.Unlock()
		c.handleServerEvent(m)
	}
}

func (c *Cluster) handleServerEvent(m *Message) {
	defer func() {
		if p := recover(); p != nil {
			c.opts.Logger.Error("handler of a server-side event panicked",
				"namespace", c.ns.Name(), "err", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	var ack func(parser.Args)
	if m.RequestID != "" {
		var once sync.Once
		ack = func(answer parser.Args) {
			once.Do(func() {
				c.respond(m, &Message{Type: MessageServerSideEmitResponse, Value: firstValue(answer)})
			})
		}
	}
	c.ns.HandleServerSideEmit(parser.Args(m.Value), ack)
}

func (e *serverEvents) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed, e.waiting = true, nil
}
