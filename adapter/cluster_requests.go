package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// TimeoutError reports that some nodes have not answered in time. It is returned together with the answers received and wraps
// ErrTimeout.
type TimeoutError struct {
	Received int // answers of other nodes
	Expected int
}

// Error implements error. The text is the reference's, after the name of the package.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("adapter: timeout reached: only %d responses received out of %d", e.Received, e.Expected)
}

// Unwrap returns ErrTimeout.
func (e *TimeoutError) Unwrap() error { return ErrTimeout }

// requests holds the requests of this node that wait for answers.
type requests struct {
	mu     sync.Mutex
	byID   map[string]*request
	closed bool
}

// request collects answers. Its fields are guarded by requests.mu until it has been taken back.
type request struct {
	id string
	// missing are the nodes that are to answer; nil where they are only counted, by expected, which is
	// negative while it is not known. For a broadcast, this node is one of those that are counted.
	missing  map[string]struct{}
	expected int
	received int

	sockets []Description
	answers []parser.Args
	clients int  // that have been asked for an acknowledgement; negative if it is nodes that are asked
	single  bool // the first answer is enough

	err  error         // why other nodes are not waited for
	done chan struct{} // closed when complete, or when the adapter closes
	over bool          // done is closed
}

func (q *request) completeLocked() bool {
	if q.single && len(q.answers) > 0 {
		return true
	}
	if len(q.missing) > 0 || q.missing == nil && (q.expected < 0 || q.received < q.expected) {
		return false
	}
	return q.clients < 0 || len(q.answers) >= q.clients
}

// open makes q wait for answers: of the nodes that missing returns, unless it is nil. It returns ErrClosed.
func (r *requests) open(q *request, missing func() map[string]struct{}) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	q.id, q.done = newUID(), make(chan struct{})
	if missing != nil {
		q.missing = missing() // with mu held: for those that leave now, nodeGone comes behind
	}
	if r.byID == nil {
		r.byID = make(map[string]*request)
	}
	r.byID[q.id] = q
	r.updateLocked(q, func(*request) {}) // all may have left
	return nil
}

// take ends the wait of q, which belongs to the caller then.
func (r *requests) take(q *request) (complete bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, q.id)
	return q.completeLocked()
}

// update changes the request with this id, if it is waited for.
func (r *requests) update(id string, change func(q *request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.byID[id]; q != nil {
		r.updateLocked(q, change)
	}
}

func (r *requests) updateLocked(q *request, change func(q *request)) {
	change(q)
	if !q.over && q.completeLocked() {
		q.over = true
		close(q.done)
	}
}

// answered records that a node has answered.
func (q *request) answered(uid string) {
	q.received++
	delete(q.missing, uid)
}

// nodeGone records that a node will not answer any more.
func (r *requests) nodeGone(uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.byID {
		r.updateLocked(q, func(q *request) { delete(q.missing, uid) })
	}
}

func (r *requests) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, q := range r.byID {
		if !q.over {
			q.over = true
			close(q.done)
		}
	}
}

// wait returns when q is complete, ctx ends or the adapter closes. q is not open any more then.
func (c *Cluster) wait(ctx context.Context, q *request) error {
	select {
	case <-q.done:
	case <-ctx.Done():
	}
	switch {
	case c.requests.take(q):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return ErrClosed
	}
}

// bounded returns ctx with a time-out, of its own if it has no deadline.
func (c *Cluster) bounded(ctx context.Context, o Options) (context.Context, context.CancelFunc) {
	timeout := o.Flags.Timeout
	if timeout <= 0 {
		if _, ok := ctx.Deadline(); ok {
			return context.WithCancel(ctx)
		}
		timeout = c.opts.RequestTimeout
	}
	return context.WithTimeoutCause(ctx, timeout, ErrTimeout)
}

// ask sends a request to all other nodes and collects their answers.
func (c *Cluster) ask(ctx context.Context, m *Message) (*request, error) {
	q := &request{clients: -1}
	n, err := c.ServerCount(ctx)
	if err != nil {
		return q, timedOut(err)
	}
	if q.expected = n - 1; q.expected <= 0 {
		return q, nil
	}
	var missing func() map[string]struct{}
	if c.counter == nil {
		missing = c.nodes.uids
	}
	if err := c.requests.open(q, missing); err != nil {
		return q, err
	}
	m.RequestID = q.id
	if err := c.send(m); err != nil {
		c.requests.take(q)
		return q, err
	}
	err = c.wait(ctx, q)
	if errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		err = &TimeoutError{Received: q.received, Expected: q.expected}
	}
	return q, err
}

// FetchSockets implements [Adapter]. Together with an error, it returns the sockets found so far.
func (c *Cluster) FetchSockets(ctx context.Context, o Options) ([]Description, error) {
	found, err := c.local.FetchSockets(ctx, o)
	if err != nil || o.Flags.Local {
		return found, err
	}
	ctx, cancel := c.bounded(ctx, o)
	defer cancel()
	q, err := c.ask(ctx, &Message{Type: MessageFetchSockets, Options: o})
	return append(found, q.sockets...), err
}

// ServerSideEmitWithAck implements [Adapter].
func (c *Cluster) ServerSideEmitWithAck(ctx context.Context, args parser.Args) ([]parser.Args, error) {
	ctx, cancel := c.bounded(ctx, Options{})
	defer cancel()
	q, err := c.ask(ctx, &Message{Type: MessageServerSideEmit, Value: parser.Value(args)})
	if q.answers == nil {
		q.answers = []parser.Args{}
	}
	return q.answers, err
}

// BroadcastWithAck implements [Adapter]. A node that has no time left to answer counts like clients that do not.
func (c *Cluster) BroadcastWithAck(ctx context.Context, p *parser.Packet, o Options) ([]parser.Args, error) {
	if o.Flags.Local {
		return c.local.BroadcastWithAck(ctx, p, o)
	}
	ctx, cancel := c.bounded(ctx, o)
	defer cancel()
	q := &request{expected: -1, answers: []parser.Args{}, single: o.Flags.ExpectSingleResponse}
	var missing func() map[string]struct{}
	if c.counter == nil {
		missing = func() map[string]struct{} {
			uids := c.nodes.uids()
			uids[c.uid] = struct{}{}
			return uids
		}
	}
	if err := c.requests.open(q, missing); err != nil {
		return q.answers, err
	}
	if o.Flags.Timeout <= 0 {
		// Other nodes need not wait any longer, either.
		if deadline, ok := ctx.Deadline(); ok {
			o.Flags.Timeout = max(time.Until(deadline), time.Millisecond)
		}
	}
	sendErr := c.send(&Message{Type: MessageBroadcast, RequestID: q.id, Options: o, Value: packetValue(p)})

	count, drop, err := c.local.broadcastAcks(p, o, func(answer parser.Args) {
		c.requests.update(q.id, func(q *request) { q.answers = append(q.answers, answer) })
	})
	if err != nil {
		c.requests.take(q)
		return q.answers, err
	}
	defer drop()
	c.requests.update(q.id, func(q *request) {
		q.clients += count
		q.answered(c.uid)
	})
	switch {
	case sendErr != nil:
		c.requests.onlyThisNode(q.id, sendErr)
	case c.counter != nil:
		go c.expectServers(ctx, q.id)
	}
	if err = c.wait(ctx, q); q.err != nil {
		err = q.err
	}
	return q.answers, timedOut(err)
}

// timedOut returns err, or ErrTimeout if a deadline was reached.
func timedOut(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return ErrTimeout
	}
	return err
}

// expectServers tells the request how many nodes are to say whom they have asked.
func (c *Cluster) expectServers(ctx context.Context, id string) {
	n, err := c.ServerCount(ctx)
	if err != nil {
		c.requests.onlyThisNode(id, err)
		return
	}
	c.requests.update(id, func(q *request) { q.expected = max(n, 1) })
}

// onlyThisNode makes a broadcast wait only for the clients of this node, and for those that other nodes have already
// announced, because of err.
func (r *requests) onlyThisNode(id string, err error) {
	r.update(id, func(q *request) { q.err, q.expected, q.missing = err, 1, nil })
}
