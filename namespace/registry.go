package namespace

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Config is what the namespaces of a server have in common.
type Config struct {
	Parser  parser.Parser
	Adapter adapter.Factory
	Logger  *slog.Logger
	// Recovery, if not nil, tells clients the secret with which they can resume a session, if the adapter is able
	// to restore one.
	Recovery *adapter.RecoveryOptions
	// RecoverThroughMiddleware runs middleware also for sockets that resume a session.
	RecoverThroughMiddleware bool
	// DropEmptyChildren forgets a dynamic namespace when its last socket has gone.
	DropEmptyChildren bool
}

// Registry holds the namespaces of a server by name. It is safe for concurrent use.
type Registry struct {
	config  Config
	parser  parser.Parser
	logger  *slog.Logger
	created list[func(*Namespace)]

	mu      sync.RWMutex
	byName  map[string]*Namespace
	order   []*Namespace
	parents []*parent
	leaving map[string]<-chan struct{} // closed when the adapter of a dropped namespace of this name is
	closed  bool
}

// dropTimeout bounds the wait for the adapter of a dropped namespace. The backend of a cluster may be out of reach.
const dropTimeout = 5 * time.Second

// NewRegistry returns an empty registry.
func NewRegistry(c Config) *Registry {
	return &Registry{
		config: c, parser: c.Parser, logger: c.Logger,
		byName: make(map[string]*Namespace), leaving: make(map[string]<-chan struct{}),
	}
}

// Of returns the namespace of this name and creates it if there is none. A leading slash is added if it is
// missing. A namespace that is created inherits from the first pattern of OfPattern that its name matches.
func (r *Registry) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	if n, ok := r.Lookup(name); ok {
		return n
	}
	var from *parent
	for _, p := range r.dynamic() {
		if p.pattern != nil && p.pattern.MatchString(name) {
			from = p
			break
		}
	}
	return r.create(name, from, false)
}

// create makes the namespace of this name, if there is still none, as a child of p, which may be nil.
func (r *Registry) create(name string, p *parent, dynamic bool) *Namespace {
	n, told := r.add(name, p, dynamic)
	if told != nil {
		defer close(told)
		for _, f := range r.created.all() {
			f(n)
		}
	}
	return n
}

// add returns the namespace of this name. If it has made it, and somebody wants to know, told is to be closed when they have
// been told.
func (r *Registry) add(name string, p *parent, dynamic bool) (n *Namespace, told chan<- struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Two adapters for one name would get into each other's way: what the first gives up the second needs.
	for left := r.leaving[name]; left != nil; left = r.leaving[name] {
		r.mu.Unlock()
		<-left
		r.mu.Lock()
	}
	if n := r.byName[name]; n != nil {
		return n, nil
	}
	n = &Namespace{name: name, registry: r, dynamic: dynamic, parent: p}
	n.adapter = r.config.Adapter((*node)(n))
	if p != nil {
		n.inherit(p.namespace)
		p.addChild(n)
	}
	r.byName[name] = n
	r.order = append(r.order, n)
	if name != "/" && len(r.created.all()) > 0 {
		c := make(chan struct{})
		n.told, told = c, c
	}
	return n, told
}

// OnNew registers f to be called with each namespace that is created, apart from "/" and those that OfPattern
// and OfFunc return. No socket is connected to it before f has returned.
func (r *Registry) OnNew(f func(*Namespace)) { r.created.add(f, f == nil) }

// Lookup returns the namespace of this name, if there is one.
func (r *Registry) Lookup(name string) (*Namespace, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n, ok := r.byName[name]
	return n, ok
}

// All returns the namespaces in the order of their creation.
func (r *Registry) All() []*Namespace {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.order)
}

// hold keeps n from being dropped until release. It reports false if n has been dropped already.
func (r *Registry) hold(n *Namespace) bool {
	if !n.dynamic || !r.config.DropEmptyChildren {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName[n.name] != n {
		return false
	}
	n.held++
	return true
}

// release drops a dynamic namespace that nobody holds any more, if that is wanted.
func (r *Registry) release(n *Namespace) {
	if !n.dynamic || !r.config.DropEmptyChildren {
		return
	}
	r.mu.Lock()
	n.held--
	if n.held > 0 || r.byName[n.name] != n || r.closed {
		r.mu.Unlock()
		return
	}
	delete(r.byName, n.name)
	r.order = slices.DeleteFunc(r.order, func(o *Namespace) bool { return o == n })
	n.parent.removeChild(n)
	left := make(chan struct{})
	r.leaving[n.name] = left
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.leaving, n.name)
		close(left)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	if err := n.adapter.Close(ctx); err != nil {
		r.logger.Warn("adapter of an empty namespace cannot be closed", "namespace", n.name, "err", err)
	}
}

// DropIfEmpty drops n if it is a dynamic namespace that nobody holds, and that is wanted: who has asked for it may have gone.
func (r *Registry) DropIfEmpty(n *Namespace) {
	if r.hold(n) {
		r.release(n)
	}
}

// Close closes the adapters of all namespaces.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	all := slices.Clone(r.order)
	r.mu.Unlock()
	var errs []error
	for _, n := range all {
		errs = append(errs, n.adapter.Close(ctx))
	}
	return errors.Join(errs...)
}
