package socketio

import (
	"slices"
	"sync"
	"sync/atomic"
)

// list is a list of functions that is read without a lock. Its slices are never changed, but replaced.
type list[F any] struct {
	mu sync.Mutex
	fs atomic.Pointer[[]F]
}

// add panics if missing is true: the caller tells whether f is nil.
func (l *list[F]) add(f F, missing bool) {
	if missing {
		panic("socketio: nil function")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fs := append(slices.Clip(l.all()), f)
	l.fs.Store(&fs)
}

func (l *list[F]) all() []F {
	if fs := l.fs.Load(); fs != nil {
		return *fs
	}
	return nil
}

// prepend is add in front of the others.
func (l *list[F]) prepend(f F, missing bool) {
	if missing {
		panic("socketio: nil function")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fs := append([]F{f}, l.all()...)
	l.fs.Store(&fs)
}

// clear removes all functions.
func (l *list[F]) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fs.Store(nil)
}

// copy makes l hold the current elements of o.
func (l *list[F]) copy(o *list[F]) { l.fs.Store(o.fs.Load()) }
