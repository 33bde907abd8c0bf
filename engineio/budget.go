package engineio

import (
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
)

// defaultQueuedTotal returns the default of Options.MaxQueuedBytesTotal: a quarter of the memory that the process may
// use, by the limits of its control group, of the machine and of GOMEMLIMIT.
func defaultQueuedTotal() int64 {
	limit := debug.SetMemoryLimit(-1) // math.MaxInt64 without GOMEMLIMIT
	for _, memory := range []memlimit.Provider{memlimit.FromCgroup, memlimit.FromSystem} {
		if n, err := memory(); err == nil && n > 0 && n < uint64(limit) {
			limit = int64(n)
		}
	}
	if limit == math.MaxInt64 {
		return fallbackQueuedTotal
	}
	return limit / 4
}

// fallbackQueuedTotal is the default on systems that do not tell how much memory there is.
const fallbackQueuedTotal = 1 << 30

// newBudget returns the limit for the queues of all clients, or nil if there is none.
func (s *Server) newBudget() *transport.Budget {
	if s.options.MaxQueuedBytesTotal < 0 {
		return nil
	}
	return transport.NewBudget(s.options.MaxQueuedBytesTotal, s.queues)
}

// queues returns the queues of all clients.
func (s *Server) queues() []transport.Queue {
	var all []transport.Queue
	if s.sockets != nil {
		// All connections, not only those of sessions: after its session has ended a connection may still hold bytes.
		for _, c := range s.sockets.Conns() {
			all = append(all, c)
		}
	}
	if s.polling != nil {
		for _, session := range s.Sessions() {
			if session.Transport() == Polling {
				all = append(all, pollingQueue{session})
			}
		}
	}
	return all
}

// pollingQueue is the queue of a session whose transport is polling.
type pollingQueue struct{ s *Session }

// Queued implements [transport.Queue].
func (q pollingQueue) Queued() int {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	if q.s.polling == nil {
		return 0
	}
	return q.s.polling.conn.Queued()
}

// Shed implements [transport.Queue].
func (q pollingQueue) Shed() {
	q.s.mu.Lock()
	decided := q.s.polling != nil && q.s.decideLocked(TransportError, transport.ErrSlowPeer)
	q.s.mu.Unlock()
	if decided && q.s.release(packet.Close) {
		go q.s.tellClosed()
	}
}
