package adapter

import (
	"context"
	"maps"
	"sync"
	"time"
)

// nodes are the other nodes known from heartbeats.
type nodes struct {
	mu       sync.Mutex
	heard    map[string]time.Time
	left     map[string]time.Time // nodes that have announced it; their earlier messages may still arrive
	lastSent time.Time
	timer    *time.Timer
	closed   bool
}

func (n *nodes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.heard)
}

func (n *nodes) uids() map[string]struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	uids := make(map[string]struct{}, len(n.heard))
	for uid := range n.heard {
		uids[uid] = struct{}{}
	}
	return uids
}

// ServerCount implements [Adapter].
func (c *Cluster) ServerCount(ctx context.Context) (int, error) {
	if c.counter == nil {
		return 1 + c.nodes.count(), nil
	}
	type result struct {
		n   int
		err error
	}
	answer := make(chan result, 1)
	go func() {
		n, err := c.counter.ServerCount(ctx)
		answer <- result{n, err}
	}()
	select {
	case r := <-answer:
		return r.n, r.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// heartbeatCheck is the time between two looks at who is silent, unless heartbeats come more often.
const heartbeatCheck = time.Second

func (c *Cluster) startHeartbeats() {
	n := &c.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.heard == nil {
		n.heard = make(map[string]time.Time)
	}
	n.lastSent = time.Now()
	period := min(heartbeatCheck, c.opts.Heartbeat.Interval)
	n.timer = time.AfterFunc(period, func() { c.checkNodes(period) })
}

// checkNodes forgets who is silent, and sends a heartbeat when it is time.
func (c *Cluster) checkNodes(period time.Duration) {
	n, now := &c.nodes, time.Now()
	var gone []string
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	for uid, at := range n.heard {
		if now.Sub(at) > c.opts.Heartbeat.Timeout {
			delete(n.heard, uid)
			gone = append(gone, uid)
		}
	}
	maps.DeleteFunc(n.left, func(_ string, at time.Time) bool { return now.Sub(at) > c.opts.Heartbeat.Timeout })
	due := now.Sub(n.lastSent) >= c.opts.Heartbeat.Interval
	if due {
		n.lastSent = now
	}
	n.timer.Reset(period)
	n.mu.Unlock()

	if due {
		c.publish(&Message{Type: MessageHeartbeat})
	}
	for _, uid := range gone {
		c.opts.Logger.Warn("node has fallen silent", "namespace", c.ns.Name(), "node", uid)
		c.requests.nodeGone(uid)
	}
}

// stopHeartbeats tells the other nodes that this one leaves.
func (c *Cluster) stopHeartbeats() {
	n := &c.nodes
	n.mu.Lock()
	n.closed = true
	n.timer.Stop()
	n.mu.Unlock()
	c.publish(&Message{Type: MessageAdapterClose})
}

// maxNodes bounds the number of nodes, which anybody who can publish can make up.
const maxNodes = 10_000

// hear takes note of a message of another node. A node that has left counts again when it begins.
func (c *Cluster) hear(uid string, begins bool) {
	if uid == "" || uid == EmitterUID {
		return
	}
	n := &c.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, left := n.left[uid]; left && !begins {
		return
	}
	delete(n.left, uid)
	if n.heard == nil {
		n.heard = make(map[string]time.Time)
	}
	if _, known := n.heard[uid]; known || len(n.heard) < maxNodes {
		n.heard[uid] = time.Now()
	}
}

// forget takes note of a node that leaves.
func (c *Cluster) forget(uid string) {
	n := &c.nodes
	n.mu.Lock()
	delete(n.heard, uid)
	if c.counter == nil && len(n.left) < maxNodes {
		if n.left == nil {
			n.left = make(map[string]time.Time)
		}
		n.left[uid] = time.Now()
	}
	n.mu.Unlock()
	c.requests.nodeGone(uid)
}
