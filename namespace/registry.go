package namespace

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

var (
	// ErrUnknown reports a name that neither exists nor is allowed by a parent.
	ErrUnknown = errors.New("namespace: unknown name")
	// ErrTooMany reports that Options.MaxDynamic dynamic namespaces already exist.
	ErrTooMany = errors.New("namespace: too many dynamic namespaces")
)

// Options configure a Registry. New and Close must not be nil.
type Options[N any] struct {
	// New creates the namespace of e. It may request other names from the registry; for the name of e it would wait
	// forever.
	New func(e *Entry[N]) N
	// Close releases the resources of a namespace. It must return when ctx is done.
	Close func(ctx context.Context, n N) error
	// DropEmpty drops a dynamic namespace when it is no longer held.
	DropEmpty bool
	// MaxDynamic bounds the number of dynamic namespaces. Zero means no bound.
	MaxDynamic int
	// Logger receives failures to close a single namespace. It must not be nil.
	Logger *slog.Logger
}

// Registry holds the namespaces of a server by name. It is safe for concurrent use.
type Registry[N any] struct {
	opts Options[N]

	mu      sync.RWMutex
	byName  map[string]*Entry[N] // in any state
	order   []*Entry[N]          // those that exist
	parents []*Parent[N]
	added   int // parents, including those being added
	created []func(N)
	dynamic int // entries
	closed  bool
}

// state is the stage of an entry.
type state uint8

const (
	making state = iota
	there
	closing
)

// Entry is a name with its namespace.
type Entry[N any] struct {
	registry *Registry[N]
	name     string
	parent   *Parent[N]    // nil unless its pattern or function allowed the name
	dynamic  bool          // created on demand
	told     chan struct{} // closed when the functions of OnNew have returned
	value    N             // set before the entry exists

	// Guarded by the lock of the registry.
	state state
	over  chan struct{} // closed when the creation or the closing has finished
	held  int
}

// closeTimeout bounds Options.Close for a single namespace.
const closeTimeout = 5 * time.Second

// NewRegistry returns an empty registry.
func NewRegistry[N any](o Options[N]) *Registry[N] {
	return &Registry[N]{opts: o, byName: make(map[string]*Entry[N])}
}

// Of returns the namespace with this name and creates it if necessary. A missing leading slash is added. A new
// namespace gets the first parent whose pattern matches its name.
func (r *Registry[N]) Of(name string) N {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	if n, ok := r.Lookup(name); ok {
		return n
	}
	var from *Parent[N]
	for _, p := range r.allParents() {
		if p.pattern != nil && p.pattern.MatchString(name) {
			from = p
			break
		}
	}
	n, _ := r.obtain(name, from, false, 0)
	return n
}

// Lookup returns the namespace with this name, if it exists. It does not wait.
func (r *Registry[N]) Lookup(name string) (n N, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.byName[name]; e != nil && e.state == there {
		return e.value, true
	}
	return n, false
}

// All returns the namespaces in order of creation.
func (r *Registry[N]) All() []N {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return values(r.order)
}

// OnNew registers f. It is called with each namespace created from now on, except "/". See [Entry.Wait].
func (r *Registry[N]) OnNew(f func(N)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.created = append(slices.Clip(r.created), f)
}

// obtain returns the namespace with this name and creates it if necessary. It fails if max is not zero and max
// dynamic namespaces already exist.
func (r *Registry[N]) obtain(name string, p *Parent[N], dynamic bool, max int) (n N, err error) {
	r.mu.Lock()
	for e := r.byName[name]; e != nil; e = r.byName[name] {
		if e.state == there {
			r.mu.Unlock()
			return e.value, nil
		}
		over := e.over
		r.mu.Unlock()
		<-over
		r.mu.Lock()
	}
	if max > 0 && r.dynamic >= max {
		r.mu.Unlock()
		return n, ErrTooMany
	}
	e := &Entry[N]{
		registry: r, name: name, parent: p, dynamic: dynamic,
		told: make(chan struct{}), over: make(chan struct{}),
	}
	r.byName[name] = e
	r.count(e, 1)
	created := r.created
	r.mu.Unlock()

	defer close(e.told)
	if late := r.fill(e); late {
		e.close()
	}
	if name != "/" {
		for _, f := range created {
			f(e.value)
		}
	}
	return e.value, nil
}

// fill creates the namespace of e. After a panic the name is free again. fill reports whether the registry has been
// closed.
func (r *Registry[N]) fill(e *Entry[N]) (late bool) {
	made := false
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if made {
			e.state = there
			r.order = append(r.order, e)
			if e.parent != nil {
				e.parent.children = append(e.parent.children, e)
			}
		} else {
			r.forgetLocked(e)
		}
		close(e.over)
		late = r.closed
	}()
	e.value = r.opts.New(e)
	made = true
	return false
}

// count adds delta to the number of dynamic entries if e is dynamic. The lock must be held.
func (r *Registry[N]) count(e *Entry[N], delta int) {
	if e.dynamic {
		r.dynamic += delta
	}
}

// forgetLocked frees the name of e.
func (r *Registry[N]) forgetLocked(e *Entry[N]) {
	delete(r.byName, e.name)
	r.count(e, -1)
}

// Close closes all namespaces. Afterwards none is created on demand or dropped.
func (r *Registry[N]) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	all := values(r.order)
	r.mu.Unlock()
	var errs []error
	for _, n := range all {
		errs = append(errs, r.opts.Close(ctx, n))
	}
	return errors.Join(errs...)
}

// Name returns the name with its leading slash.
func (e *Entry[N]) Name() string { return e.name }

// Parent returns the parent whose pattern or function allowed the name, or nil.
func (e *Entry[N]) Parent() *Parent[N] { return e.parent }

// Wait waits until the functions of OnNew have returned; they may be setting up the namespace.
func (e *Entry[N]) Wait() { <-e.told }

// Hold keeps the namespace from being dropped until Release. It returns false if the namespace has already been
// dropped.
func (e *Entry[N]) Hold() bool {
	r := e.registry
	if !e.dynamic || !r.opts.DropEmpty {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.state != there {
		return false
	}
	e.held++
	return true
}

// Release undoes Hold. If Options.DropEmpty is set, a dynamic namespace that is no longer held is closed before
// Release returns.
func (e *Entry[N]) Release() {
	r := e.registry
	if !e.dynamic || !r.opts.DropEmpty {
		return
	}
	r.mu.Lock()
	e.held--
	if e.held > 0 || e.state != there || r.closed {
		r.mu.Unlock()
		return
	}
	e.state, e.over = closing, make(chan struct{})
	r.order = without(r.order, e)
	e.parent.children = without(e.parent.children, e)
	r.mu.Unlock()

	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.forgetLocked(e)
		close(e.over)
	}()
	e.close()
}

// close closes the namespace independently of Registry.Close.
func (e *Entry[N]) close() {
	o := &e.registry.opts
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := o.Close(ctx, e.value); err != nil {
		o.Logger.Warn("failed to close namespace", "namespace", e.name, "err", err)
	}
}

// without removes e from list.
func without[N any](list []*Entry[N], e *Entry[N]) []*Entry[N] {
	return slices.DeleteFunc(list, func(o *Entry[N]) bool { return o == e })
}

// values returns the namespaces of list.
func values[N any](list []*Entry[N]) []N {
	all := make([]N, len(list))
	for i, e := range list {
		all[i] = e.value
	}
	return all
}
