package transport

import "sync/atomic"

// Budget counts the bytes queued for all peers of a server and has a limit for the total. Transports report to it
// when they queue, write or drop bytes. All methods are safe for concurrent use; on a nil Budget they do nothing.
type Budget struct {
	limit    int64
	used     atomic.Int64
	exceeded func()
}

// NewBudget returns a Budget with a limit in bytes. Each report that leaves the total above the limit calls
// exceeded on the reporting goroutine, which may hold any lock. exceeded must not block and must not call a
// transport.
func NewBudget(limit int64, exceeded func()) *Budget {
	return &Budget{limit: limit, exceeded: exceeded}
}

// Used returns the number of queued bytes.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

// Limit returns the limit in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Add reports that n more bytes are queued, or fewer if n is negative.
func (b *Budget) Add(n int) {
	if b != nil && n != 0 && b.used.Add(int64(n)) > b.limit && n > 0 {
		b.exceeded()
	}
}

// Hold reports that a queue refers to m, a shared message. Its bytes count once, however many queues refer to it.
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

// owns reports whether m.holds belongs to b. The first server that sends a message counts it once; any other server
// counts it for each queue.
func (b *Budget) owns(m *Message) bool {
	return m.budget.CompareAndSwap(nil, b) || m.budget.Load() == b
}
