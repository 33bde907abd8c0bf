package adapter

import (
	"bytes"

	"github.com/myriad-rt/myriad/internal/msgpack"
)

// Node is a namespace of this process as its Backend sees it: what the backend receives goes to it. Its methods are safe
// for concurrent use, and none blocks.
type Node struct{ c *Cluster }

// UID returns the id by which other nodes know this namespace of this process. It is a new one each time.
func (n Node) UID() string { return n.c.uid }

// Namespace returns the name of the namespace.
func (n Node) Namespace() string { return n.c.ns.Name() }

// Local returns the adapter of the sockets of this node. Nothing that it does concerns other nodes.
func (n Node) Local() *Memory { return n.c.local }

// HasRoom reports whether a socket of this node is in a room.
func (n Node) HasRoom(room string) bool { return n.c.local.hasRoom(room) }

// Connected reports that the messages of other nodes arrive from now on, for the first time or again.
func (n Node) Connected() {
	if n.c.counter == nil {
		n.c.publish(&Message{Type: MessageInitialHeartbeat})
	}
	n.c.begun.Do(func() { close(n.c.ready) })
}

// Lost reports that the connection has failed, and messages of other nodes may be lost.
func (n Node) Lost() { n.c.figures.lost.Add(1) }

// Dropped reports that there was no room for count messages of other nodes.
func (n Node) Dropped(count int) {
	n.c.figures.dropped.Add(uint64(count))
	n.c.logs.busy.warn("messages of other nodes dropped", errBusy)
}

// Receive takes the result of decoding a message of another node: the message, which belongs to n then, or an error, which
// is counted and logged. If both are nil it does nothing. Messages that one goroutine hands over are handled in this order.
// Those of this node itself, and those for another namespace, are ignored.
func (n Node) Receive(m *Message, err error) {
	switch {
	case err != nil:
		n.c.malformed(err)
	case m != nil && m.UID != n.c.uid && !n.c.closing.Load():
		n.c.receive(m)
	}
}

// ReceiveEncoded is Receive for a message as Append encodes it. It does not decode those of this node itself. The payload
// must not change any more.
func (n Node) ReceiveEncoded(payload []byte) {
	if !n.IsOwn(payload) {
		n.Receive(DecodeMessage(payload))
	}
}

// IsOwn reports whether payload, a message as Append encodes it, is one of this node's own. It looks at the end only:
// backends that hear what they say need not keep that, nor decode it.
func (n Node) IsOwn(payload []byte) bool {
	return bytes.HasSuffix(payload, n.c.tails[0]) || bytes.HasSuffix(payload, n.c.tails[1])
}

// messageTails returns what the messages of a node end with, in JSON and in MessagePack.
func messageTails(uid, namespace string) [2][]byte {
	m := Message{Type: MessageHeartbeat, UID: uid, Namespace: namespace}
	text := m.Append(nil)
	packed := msgpack.AppendString(msgpack.AppendString(nil, "uid"), uid)
	packed = msgpack.AppendString(msgpack.AppendString(packed, "nsp"), namespace)
	return [2][]byte{text[bytes.Index(text, []byte(`,"uid":`)):], packed}
}

// Awaits reports whether a request with this id, or any request if it is "", waits for answers. Answers to others are for
// other nodes and need not be decoded.
func (n Node) Awaits(requestID string) bool {
	r := &n.c.requests
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[requestID] != nil || requestID == "" && len(r.byID) > 0
}

// Send queues a message that the backend has encoded itself. It returns ErrQueueFull, which is counted and logged, or
// ErrClosed.
func (n Node) Send(out Outgoing) error { return n.c.enqueue(out) }
