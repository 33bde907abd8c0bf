package subscribe

import (
	"context"
	"fmt"
	"slices"
)

// Owner is who a Member belongs to. Its methods are called by any goroutine, with no lock held, and must not block.
type Owner interface {
	// IsOwn reports whether the owner has sent a payload itself. Then it takes no room and is not handed over.
	IsOwn(payload []byte) bool
	// Connected is called when all names of Join are subscribed to, each time that the last of them is confirmed.
	Connected()
	// Lost is called when messages may have been lost because a connection was.
	Lost()
	// Dropped is called when count messages found no room.
	Dropped(count int)
}

// Member is a namespace that subscribes to names of a Receiver. Its methods are safe for concurrent use. Only Close blocks.
type Member struct {
	r     *Receiver
	queue queue
	owner Owner // set by Join

	// Guarded by Receiver.mu.
	joined  []string // the names of Join, the last one last
	missing []string // of the others, those that have not been confirmed yet
	closed  bool
}

// NewMember returns a member that has not joined. handle is called with what has come, in order, by one goroutine at a
// time, with no lock held. It may take its time: see the bounds of the package. batch is the caller's again when it returns.
func (r *Receiver) NewMember(handle func(batch []Message)) *Member {
	m := &Member{r: r}
	m.queue = queue{pool: &r.pool, handle: handle, dropped: func(count int) { m.owner.Dropped(count) }}
	return m
}

// Join subscribes to the names in first and, when all of them are confirmed, to last. Where nodes are counted by their
// subscriptions to last, who has counted this one may rely on the others. Join is called before the other methods; only
// the first call counts.
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

// confirmedLocked takes note that a name is subscribed to, and reports whether m is connected by that.
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

// Subscribe has m receive what is sent to a name, soon.
func (m *Member) Subscribe(name string) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	if !m.closed {
		m.r.wantLocked(name, m)
	}
}

// Unsubscribe ends that at once. What has been received before is still handed over.
func (m *Member) Unsubscribe(names ...string) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	m.r.leaveLocked(m, names)
}

// Insert hands over a message behind those that have come, whether there is room or not. It reports whether m is open.
func (m *Member) Insert(msg Message) bool { return m.queue.insert(msg) }

// Close ends the subscriptions of Join, and drops what has not been handed over. It waits until the broker has been told,
// if it can be reached, and until the connections are closed if m was the last member. If ctx ends before, it returns its
// cause, wrapped. The caller ends the subscriptions of Subscribe before.
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

// wantLocked adds m to those who want a name.
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
