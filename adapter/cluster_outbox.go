package adapter

import (
	"context"
	"sync"
)

// Limits for the messages passed to one call of Publish.
const (
	maxBatch      = 256
	maxBatchBytes = 1 << 20
)

// outbox is the queue of messages to other nodes.
type outbox struct {
	c      *Cluster
	ctx    context.Context // ends when the time for publishing is over
	cancel context.CancelFunc

	mu      sync.Mutex
	waiting []Outgoing
	bytes   int // size of the messages waiting or being published
	sending bool
	closed  bool
	idle    chan struct{} // closed when sending has ended after closed was set
}

func (b *outbox) init(c *Cluster) {
	b.c = c
	b.ctx, b.cancel = context.WithCancel(context.Background())
}

// add queues out. It returns ErrQueueFull or ErrClosed.
func (b *outbox) add(out Outgoing) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	size := out.size()
	if b.bytes > 0 && b.bytes+size > b.c.opts.MaxQueuedBytes {
		return ErrQueueFull
	}
	b.bytes += size
	b.waiting = append(b.waiting, out)
	if !b.sending {
		b.sending = true
		go b.send()
	}
	return nil
}

// send publishes until nothing is waiting.
func (b *outbox) send() {
	for {
		batch, bytes := b.take()
		if batch == nil {
			return
		}
		sent, err := b.c.backend.Publish(b.ctx, batch)
		b.c.figures.published.Add(uint64(sent))
		if lost := len(batch) - sent; lost > 0 {
			b.c.figures.failed.Add(uint64(lost))
			b.c.logs.failed.warn("messages to other nodes lost", err)
			b.c.kept.stop()
		}
		b.mu.Lock()
		b.bytes -= bytes
		b.mu.Unlock()
	}
}

// take returns the next messages and their size. If it returns nil, later messages need a new goroutine.
func (b *outbox) take() (batch []Outgoing, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < min(len(b.waiting), maxBatch) && (n == 0 || bytes < maxBatchBytes) {
		bytes += b.waiting[n].size()
		n++
	}
	if n == 0 {
		b.sending, b.waiting = false, nil
		if b.idle != nil {
			close(b.idle)
		}
		return nil, 0
	}
	batch, b.waiting = b.waiting[:n:n], b.waiting[n:]
	return batch, bytes
}

// close rejects new messages and publishes the waiting ones until ctx ends. It then drops the rest and returns the error of
// ctx.
func (b *outbox) close(ctx context.Context) error {
	defer b.cancel()
	b.mu.Lock()
	b.closed = true
	if !b.sending {
		b.mu.Unlock()
		return nil
	}
	idle := make(chan struct{})
	b.idle = idle
	b.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.c.figures.dropped.Add(uint64(len(b.waiting)))
	b.waiting = nil
	return context.Cause(ctx)
}

// queued returns how much is waiting or being published.
func (b *outbox) queued() (bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}
