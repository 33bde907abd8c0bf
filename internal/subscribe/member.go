package subscribe

import (
	"context"
	"fmt"
	"slices"
)

// Owner is the owner of a Member. Its methods are called by any goroutine, with no lock held, and must not block.
type Owner interface {
	// IsOwn reports whether the owner itself has sent a payload. Such a payload takes no space and is not
	// delivered.
	IsOwn(payload []byte) bool
	// Connected is called when all names of Join are subscribed to, each time the last of them is confirmed.
	Connected()
	// Lost is called when messages may have been lost with a connection.
	Lost()
	// Dropped is called when count messages were dropped for lack of space.
	Dropped(count int)
}

// Member is a namespace subscribed to names of a Receiver. Its methods are safe for concurrent use. Only Close
// blocks.
type Member struct {
	r     *Receiver
	queue queue
	owner Owner // set by Join

	// Guarded by Receiver.mu.
	joined  []string // the names of Join, with last at the end
	missing []string // joined names except the last that are not confirmed yet
	closed  bool
}

// NewMember returns a member that has not joined. handle is called with received messages, in order, by one
// goroutine at a time, with no lock held. It may be slow; see the bounds of the package. batch belongs to the
// caller again when handle returns.
func (r *Receiver) NewMember(handle func(batch []Message)) *Member {
	m := &Member{r: r}
	m.queue = queue{pool: &r.pool, handle: handle, dropped: func(count int) { m.owner.Dropped(count) }}
	return m
}

// Join subscribes to the names in first and, once all are confirmed, to last. If nodes are counted by their
// subscriptions to last, a counted node has therefore subscribed to all other names. Join must be called before the
// other methods; only the first call has an effect.
func (m *Member) Join(o Owner, last string, first ...string) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	if m.closed || m.joined != nil {
		return
	}
	m.owner = o
	m.joined, m.missing = append(slices.Clone(first), last), slices.Clone(first)
	for _, name := range first {
		m.r.wantLocked(name, m)
	}
	if len(first) == 0 {
		m.r.wantLocked(last, m)
	}
}

// confirmedLocked records that a name is subscribed to, and reports whether this connects m.
func (m *Member) confirmedLocked(name string) (connected bool) {
	if len(m.joined) == 0 {
		return false
	}
	last := m.joined[len(m.joined)-1]
	if i := slices.Index(m.missing, name); i >= 0 {
		if m.missing = slices.Delete(m.missing, i, i+1); len(m.missing) == 0 {
			m.r.wantLocked(last, m)
		}
	}
	return name == last
}

// Subscribe starts the delivery of a name's messages to m, soon.
func (m *Member) Subscribe(name string) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	if !m.closed {
		m.r.wantLocked(name, m)
	}
}

// Unsubscribe ends the delivery of names at once. Messages received earlier are still delivered.
func (m *Member) Unsubscribe(names ...string) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	m.r.leaveLocked(m, names)
}

// Insert queues a message after those already received, regardless of the space left. It reports whether m is open.
func (m *Member) Insert(msg Message) bool { return m.queue.insert(msg) }

// Close ends the subscriptions of Join and drops undelivered messages. It waits until the broker has been told, if
// reachable, and, after the last member, until the connections are closed. If ctx is done first, it returns the
// wrapped cause of ctx. The caller must end subscriptions made with Subscribe first.
func (m *Member) Close(ctx context.Context) error {
	m.r.mu.Lock()
	m.closed = true
	m.r.leaveLocked(m, m.joined)
	m.r.mu.Unlock()
	m.queue.close()
	if err := m.r.flush(ctx); err != nil {
		return fmt.Errorf("unsubscribing from %s: %w", m.r.backend, err)
	}
	return nil
}

// wantLocked adds m to the members that want a name.
func (r *Receiver) wantLocked(name string, m *Member) {
	if !slices.Contains(r.wanted[name], m) {
		r.wanted[name] = append(slices.Clip(r.wanted[name]), m)
		r.changeLocked(name)
	}
}

func (r *Receiver) leaveLocked(m *Member, names []string) {
	for _, name := range names {
		rest := slices.DeleteFunc(slices.Clone(r.wanted[name]), func(o *Member) bool { return o == m })
		switch {
		case len(rest) > 0:
			r.wanted[name] = rest
		case len(r.wanted[name]) > 0:
			delete(r.wanted, name)
			r.changeLocked(name)
		}
	}
}
