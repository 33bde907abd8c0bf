// Package drain waits for the end of connections, sessions and clients.
//
// It imports no other package of the project. Every package that waits at shutdown imports it.
package drain

import (
	"context"
	"sync"
)

// A Group counts operations in progress. Unlike with a sync.WaitGroup, a wait can be bounded by a context, and the
// count may grow during a wait. The zero value is ready for use. All methods are safe for concurrent use.
type Group struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed when n becomes zero; nil without a waiter
}

// Add adds delta, which may be negative, to the count. It panics if the count becomes negative.
func (g *Group) Add(delta int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n += delta
	switch {
	case g.n < 0:
		panic("drain: negative count")
	case g.n == 0 && g.empty != nil:
		close(g.empty)
		g.empty = nil
	}
}

// Done subtracts one from the count.
func (g *Group) Done() { g.Add(-1) }

// Len returns the count.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

// Wait waits until the count is zero and returns nil, or until ctx is done and returns its error.
func (g *Group) Wait(ctx context.Context) error {
	g.mu.Lock()
	if g.n == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
