package redis

import (
	"sync"
	"sync/atomic"

	"github.com/myriad-rt/myriad/internal/pubsub"
)

// membership is how a namespace of a node takes part in the cluster.
type membership struct {
	receiver *pubsub.Receiver

	mu   sync.Mutex
	left bool
}

// join subscribes to the other names, which are not to have Confirmed, and, when Redis has confirmed all of them, to the one by
// which nodes are counted: who has counted this node may rely on what is published then to reach it, answers included.
func (m *membership) join(counted string, s *pubsub.Subscription, others map[string]*pubsub.Subscription) {
	var missing atomic.Int32
	missing.Store(int32(len(others)))
	s.Owner = m
	for name, other := range others {
		other.Owner = m
		other.Confirmed = sync.OnceFunc(func() {
			if missing.Add(-1) > 0 {
				return
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if !m.left {
				m.receiver.Subscribe(counted, s)
			}
		})
		m.receiver.Subscribe(name, other)
	}
}

// leave ends all of these.
func (m *membership) leave(names ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = true
	m.receiver.Unsubscribe(m, names...)
}
