package transport

import "sync/atomic"

// Budget counts the bytes that wait for all peers of a server together, and has a limit for them. Transports
// report to it when they queue, when they write and when they drop what was queued. All methods are safe for
// concurrent use; on a nil Budget they do nothing.
type Budget struct {
	limit    int64
	used     atomic.Int64
	exceeded func()
}

// NewBudget returns a Budget with a limit in bytes. Whenever a report leaves more than that, exceeded is called
// by the reporting goroutine, which may hold any lock: exceeded must not block and not call a transport.
func NewBudget(limit int64, exceeded func()) *Budget {
	return &Budget{limit: limit, exceeded: exceeded}
}

// Used returns the number of bytes that wait.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

// Limit returns the limit in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Add reports that n more bytes wait, or fewer if n is negative.
func (b *Budget) Add(n int) {
	if b != nil && n != 0 && b.used.Add(int64(n)) > b.limit && n > 0 {
		b.exceeded()
	}
}

// Hold reports that a queue refers to m, which is shared. However many queues do so, its bytes count once.
func (b *Budget) Hold(m *Message) {
	if b != nil && (!b.owns(m) || m.holds.Add(1) == 1) {
		b.Add(m.Size())
	}
}

// Drop undoes one Hold.
func (b *Budget) Drop(m *Message) {
	if b != nil && (!b.owns(m) || m.holds.Add(-1) == 0) {
		b.Add(-m.Size())
	}
}

// owns reports whether m.holds belongs to b: a message that several servers send is counted once by the first of
// them, and by the others each time.
func (b *Budget) owns(m *Message) bool {
	return m.budget.CompareAndSwap(nil, b) || m.budget.Load() == b
}
