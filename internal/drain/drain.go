// Package drain waits for things that end by themselves: connections, sessions, clients.
//
// It imports nothing of the project. Every package with something to wait for at shutdown imports it.
package drain

import (
	"context"
	"sync"
)

// A Group counts things that are under way. Unlike a sync.WaitGroup it can be waited for until a context
// ends, and the count may grow while somebody waits. The zero value is ready for use. All methods are safe
// for concurrent use.
type Group struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed when n becomes zero; nil if nobody waits
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

// Wait returns nil as soon as the count is zero, and otherwise the error of ctx when it ends.
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
