package adapter

import (
	"bytes"

	"github.com/myriad-rt/myriad/internal/msgpack"
)

// Node is the namespace to which a Backend passes received messages. Its methods are safe for concurrent use and do not
// block.
type Node struct{ c *Cluster }

// UID returns the id of this adapter among the nodes. Each adapter has a new one.
func (n Node) UID() string { return n.c.uid }

// Namespace returns the name of the namespace.
func (n Node) Namespace() string { return n.c.ns.Name() }

// Local returns the adapter of the local sockets. Its operations do not affect other nodes.
func (n Node) Local() *Memory { return n.c.local }

// HasRoom reports whether a local socket is in room.
func (n Node) HasRoom(room string) bool { return n.c.local.hasRoom(room) }

// Connected reports that messages of other nodes arrive from now on, for the first time or again.
func (n Node) Connected() {
	if n.c.counter == nil {
		n.c.publish(&Message{Type: MessageInitialHeartbeat})
	}
	n.c.begun.Do(func() { close(n.c.ready) })
}

// Lost reports that the connection has failed and messages of other nodes may be lost.
func (n Node) Lost() { n.c.figures.lost.Add(1) }

// Dropped reports that count messages of other nodes were dropped for lack of room.
func (n Node) Dropped(count int) {
	n.c.figures.dropped.Add(uint64(count))
	n.c.logs.busy.warn("messages of other nodes dropped", errBusy)
}

// Receive handles the result of decoding a message of another node. It takes ownership of m, and counts and logs err. If both
// are nil, it does nothing. Messages passed by one goroutine are handled in order. Messages of this node itself and messages
// for another namespace are ignored.
func (n Node) Receive(m *Message, err error) {
	switch {
	case err != nil:
		n.c.malformed(err)
	case m != nil && m.UID != n.c.uid && !n.c.closing.Load():
		n.c.receive(m)
	}
}

// ReceiveEncoded is like Receive, for a message encoded by Message.Append. It does not decode this node's own messages. The
// payload must not change afterwards.
func (n Node) ReceiveEncoded(payload []byte) {
	if !n.IsOwn(payload) {
		n.Receive(DecodeMessage(payload))
	}
}

// IsOwn reports whether payload, a message encoded by Message.Append, is this node's own. It examines only the end, so
// backends can cheaply discard the echo of their own messages.
func (n Node) IsOwn(payload []byte) bool {
	return bytes.HasSuffix(payload, n.c.tails[0]) || bytes.HasSuffix(payload, n.c.tails[1])
}

// messageTails returns the last bytes of a node's messages, in JSON and in MessagePack.
func messageTails(uid, namespace string) [2][]byte {
	m := Message{Type: MessageHeartbeat, UID: uid, Namespace: namespace}
	text := m.Append(nil)
	packed := msgpack.AppendString(msgpack.AppendString(nil, "uid"), uid)
	packed = msgpack.AppendString(msgpack.AppendString(packed, "nsp"), namespace)
	return [2][]byte{text[bytes.Index(text, []byte(`,"uid":`)):], packed}
}

// Awaits reports whether the request with this id waits for answers or, if requestID is "", whether any request does. Other
// answers are for other nodes and need not be decoded.
func (n Node) Awaits(requestID string) bool {
	r := &n.c.requests
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[requestID] != nil || requestID == "" && len(r.byID) > 0
}

// Send queues a message encoded by the backend itself. It returns ErrClosed or ErrQueueFull, and counts and logs the latter.
func (n Node) Send(out Outgoing) error { return n.c.enqueue(out) }
