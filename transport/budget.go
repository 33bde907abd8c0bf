package transport

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// Budget limits the bytes queued for all peers of a server. Transports report to it when they queue, write or drop
// bytes. If the total exceeds the limit, a goroutine ends the peers with the longest queues. All methods are safe for
// concurrent use; on a nil Budget they do nothing.
type Budget struct {
	limit    int64
	queues   func() []Queue
	used     atomic.Int64
	shedding atomic.Bool // a goroutine runs shed
}

// Queue holds bytes that a Budget counts.
type Queue interface {
	// Queued returns the number of queued bytes.
	Queued() int
	// Shed drops the queue, and ends its peer with ErrSlowPeer. It must not wait.
	Shed()
}

// NewBudget returns a Budget with a limit in bytes. queues returns all queues that are not empty, and may return others.
// It is called without locks held, by one goroutine at a time.
func NewBudget(limit int64, queues func() []Queue) *Budget {
	return &Budget{limit: limit, queues: queues}
}

// Used returns the number of queued bytes.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

// Add reports that n more bytes are queued, or fewer if n is negative. The caller may hold any lock.
func (b *Budget) Add(n int) {
	if b != nil && n != 0 && b.used.Add(int64(n)) > b.limit && n > 0 {
		b.wake()
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

// wake starts shed unless it is running.
func (b *Budget) wake() {
	if !b.shedding.Load() && b.shedding.CompareAndSwap(false, true) {
		go b.shed()
	}
}

// fruitless is the delay before queues are searched again if none was found. The bytes above the limit are then
// about to be sent, or belong to connections that are still being set up.
const fruitless = 10 * time.Millisecond

// shed sheds the longest queues until a part of the limit is free again, so that it need not run for each message.
func (b *Budget) shed() {
	for {
		if !b.shedLongest(b.limit - b.limit/8) {
			time.Sleep(fruitless)
		}
		b.shedding.Store(false)
		if b.used.Load() <= b.limit || !b.shedding.CompareAndSwap(false, true) {
			return
		}
	}
}

// shedLongest sheds the longest queues until the total is at most target. It reports whether there was any.
func (b *Budget) shedLongest(target int64) (any bool) {
	type entry struct {
		queue Queue
		bytes int
	}
	var entries []entry
	for _, q := range b.queues() {
		if n := q.Queued(); n > 0 {
			entries = append(entries, entry{q, n})
		}
	}
	slices.SortFunc(entries, func(x, y entry) int { return cmp.Compare(y.bytes, x.bytes) })
	for _, e := range entries {
		if b.used.Load() <= target {
			break
		}
		e.queue.Shed()
		any = true
	}
	return any
}
