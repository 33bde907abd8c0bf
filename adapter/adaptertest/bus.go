package adaptertest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/myriad-rt/myriad/adapter"
)

// Bus connects the nodes of one process. It passes on encoded messages, as a real backend does. The zero value is ready to
// use.
type Bus struct {
	mu    sync.Mutex
	nodes []*busNode

	// Filter, if not nil, is called with each message to all other nodes, or to the node with the id to. It returns the
	// messages to deliver instead. It may block. It must be set before the first node joins.
	Filter func(payload []byte, to string) [][]byte
}

// Factory returns a factory whose adapters are nodes of the bus.
func (b *Bus) Factory(o *adapter.ClusterOptions) adapter.Factory {
	return func(ns adapter.Namespace) adapter.Adapter {
		return adapter.NewCluster(ns, o, &busNode{bus: b})
	}
}

// Inject delivers payload to all nodes of a namespace, as if another node had sent it.
func (b *Bus) Inject(namespace string, payload []byte) {
	b.deliver(namespace, nil, "", payload)
}

func (b *Bus) deliver(namespace string, from *busNode, to string, payload []byte) {
	b.mu.Lock()
	nodes := slices.Clone(b.nodes)
	b.mu.Unlock()
	for _, n := range nodes {
		if n != from && n.node.Namespace() == namespace && (to == "" || to == n.node.UID()) {
			n.node.Receive(adapter.DecodeMessage(slices.Clone(payload)))
		}
	}
}

// busNode is the backend of one node.
type busNode struct {
	bus  *Bus
	node adapter.Node
}

func (n *busNode) Start(node adapter.Node) {
	n.node = node
	n.bus.mu.Lock()
	n.bus.nodes = append(n.bus.nodes, n)
	n.bus.mu.Unlock()
	node.Connected()
}

func (n *busNode) Encode(m *adapter.Message) (adapter.Outgoing, error) {
	return adapter.Outgoing{Type: m.Type, Channel: m.To, Payload: m.Append(nil)}, nil
}

func (n *busNode) Publish(ctx context.Context, batch []adapter.Outgoing) (sent int, err error) {
	for i, out := range batch {
		if ctx.Err() != nil {
			return i, context.Cause(ctx)
		}
		payloads := [][]byte{out.Payload}
		if n.bus.Filter != nil {
			payloads = n.bus.Filter(out.Payload, out.Channel)
		}
		for _, payload := range payloads {
			n.bus.deliver(n.node.Namespace(), n, out.Channel, payload)
		}
	}
	return len(batch), nil
}

func (n *busNode) ServerCount(context.Context) (int, error) {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	count := 0
	for _, o := range n.bus.nodes {
		if o.node.Namespace() == n.node.Namespace() {
			count++
		}
	}
	return count, nil
}

var errNotOpen = errors.New("adaptertest: closed twice, or not started")

func (n *busNode) Close(context.Context) error {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	i := slices.Index(n.bus.nodes, n)
	if i < 0 {
		return errNotOpen
	}
	n.bus.nodes = slices.Delete(n.bus.nodes, i, i+1)
	return nil
}
