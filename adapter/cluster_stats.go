package adapter

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// ClusterStats holds counters of a Cluster since its creation and its current state.
type ClusterStats struct {
	UID string // by which other nodes know this one; a new one each time

	Published uint64 // messages to other nodes that the backend has taken
	Failed    uint64 // messages to other nodes that could not be encoded or published
	Dropped   uint64 // messages to other nodes that found the queue full, and messages of theirs that were too many
	Received  uint64 // messages of other nodes
	Malformed uint64 // messages of other nodes that could not be decoded, or were of an unknown type
	Lost      uint64 // times that the backend has lost its connection, and messages perhaps

	QueuedBytes int // waiting for the backend now
	Nodes       int // other nodes now, if they are found out by heartbeats
}

type clusterFigures struct {
	published, failed, dropped, received, malformed, lost atomic.Uint64
}

// Stats returns the current figures.
func (c *Cluster) Stats() ClusterStats {
	f := &c.figures
	return ClusterStats{
		UID:         c.uid,
		Published:   f.published.Load(),
		Failed:      f.failed.Load(),
		Dropped:     f.dropped.Load(),
		Received:    f.received.Load(),
		Malformed:   f.malformed.Load(),
		Lost:        f.lost.Load(),
		QueuedBytes: c.outbox.queued(),
		Nodes:       c.nodes.count(),
	}
}

// malformed counts and logs a message of another node that could not be decoded.
func (c *Cluster) malformed(err error) {
	c.figures.malformed.Add(1)
	c.logs.malformed.warn("message of another node ignored", err)
}

// clusterLogs are the things that may go wrong many times a second.
type clusterLogs struct {
	failed, dropped, malformed, busy, sessions quietLog
}

func (l *clusterLogs) init(logger *slog.Logger, namespace string) {
	logger = logger.With("namespace", namespace)
	for _, q := range []*quietLog{&l.failed, &l.dropped, &l.malformed, &l.busy, &l.sessions} {
		q.logger = logger
	}
}

// quiet is the minimum time between two records of a quietLog.
const quiet = 10 * time.Second

// quietLog logs frequent events at a bounded rate.
type quietLog struct {
	logger *slog.Logger

	mu       sync.Mutex
	next     time.Time
	silenced int
}

// warn logs message, unless it did so a short time ago.
func (q *quietLog) warn(message string, err error) {
	now := time.Now()
	q.mu.Lock()
	if now.Before(q.next) {
		q.silenced++
		q.mu.Unlock()
		return
	}
	silenced := q.silenced
	q.next, q.silenced = now.Add(quiet), 0
	q.mu.Unlock()
	q.logger.Warn(message, "err", err, "more", silenced)
}
