package adapter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// receive handles a message of another node.
func (c *Cluster) receive(m *Message) {
	c.figures.received.Add(1)
	if c.counter == nil && m.Type != MessageAdapterClose {
		c.hear(m.UID, m.Type == MessageInitialHeartbeat)
	}
	if m.Namespace != "" && m.Namespace != c.ns.Name() {
		return
	}
	m.Options.Flags.Local = true // nothing is passed on
	switch m.Type {
	case MessageInitialHeartbeat:
		if c.counter == nil {
			c.publish(&Message{Type: MessageHeartbeat})
		}
	case MessageAdapterClose:
		c.forget(m.UID)
	case MessageBroadcast:
		c.receiveBroadcast(m)
	case MessageSocketsJoin:
		_ = c.local.AddSockets(m.Options, m.Rooms...) // the sender cannot be told
	case MessageSocketsLeave:
		_ = c.local.RemoveSockets(m.Options, m.Rooms...) // never fails
	case MessageDisconnectSockets:
		_ = c.local.DisconnectSockets(m.Options, m.CloseConn) // never fails
	case MessageFetchSockets:
		c.receiveFetch(m)
	case MessageServerSideEmit:
		c.receiveServerEvent(m)
	default:
		c.receiveResponse(m)
	}
}

func (c *Cluster) receiveBroadcast(m *Message) {
	p := &parser.Packet{
		Type: parser.Event, Namespace: c.ns.Name(), Data: m.Value.Data, Attachments: m.Value.Attachments,
	}
	if m.RequestID == "" {
		m.Options.Flags.Timeout = 0
		if err := c.deliver(p, m); err != nil {
			c.malformed(err)
		}
		return
	}
	// Other nodes want to hear how many clients there are before they hear of answers.
	a := &ackRelay{c: c, m: m}
	count, drop, err := c.local.broadcastAcks(p, m.Options, a.add)
	if err != nil {
		c.malformed(err)
		return
	}
	c.respond(m, &Message{Type: MessageBroadcastClientCount, ClientCount: count})
	a.open()
	if count > 0 {
		time.AfterFunc(c.patience(m.Options.Flags.Timeout), drop)
	}
}

// deliver sends p, which m is, to the sockets of this node.
func (c *Cluster) deliver(p *parser.Packet, m *Message) error {
	if c.keeper == nil || m.Offset == "" || m.Options.Flags.Volatile {
		return c.local.Broadcast(p, m.Options)
	}
	to, err := c.enqueueKept(p, m.Options, m.Offset)
	to.flush()
	return err
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

// firstValue returns the first argument of an acknowledgement, which is the only one that nodes exchange.
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

var errBusy = errors.New("too many at once")

// receiveFetch answers on a new goroutine, because there may be very many sockets.
func (c *Cluster) receiveFetch(m *Message) {
	if c.fetching.Add(1) > maxFetching {
		c.fetching.Add(-1)
		c.tooMany("request for sockets ignored")
		return
	}
	go func() {
		defer c.fetching.Add(-1)
		found, _ := c.local.FetchSockets(context.Background(), m.Options) // never fails
		c.respond(m, &Message{Type: MessageFetchSocketsResponse, Sockets: found})
	}()
}

func (c *Cluster) tooMany(message string) {
	c.figures.dropped.Add(1)
	c.logs.busy.warn(message, errBusy)
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
