package namespace

import (
	"fmt"
	"regexp"
)

// Parent stands for the dynamic namespaces that one pattern or function allows. It has a namespace of its own,
// which cannot be asked for by name.
type Parent[N any] struct {
	registry *Registry[N]
	pattern  *regexp.Regexp
	allow    func(name string, auth []byte) (bool, error)
	value    N

	children []*Entry[N] // guarded by the lock of the registry
}

// AddPattern makes a parent of all names that match pattern. make is called with it and a name for its namespace,
// which it returns.
//
// Names that exist come first, then parents in the order in which they were added.
func (r *Registry[N]) AddPattern(pattern *regexp.Regexp, make func(p *Parent[N], name string) N) N {
	return r.add(&Parent[N]{registry: r, pattern: pattern}, make)
}

// AddFunc is AddPattern with a function that decides. It gets the payload of CONNECT, may block, and may be called
// many times at once. An error means no.
func (r *Registry[N]) AddFunc(allow func(name string, auth []byte) (bool, error), make func(p *Parent[N], name string) N) N {
	return r.add(&Parent[N]{registry: r, allow: allow}, make)
}

func (r *Registry[N]) add(p *Parent[N], make func(p *Parent[N], name string) N) N {
	r.mu.Lock()
	name := fmt.Sprintf("/_%d", r.added)
	r.added++
	r.mu.Unlock()
	p.value = make(p, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parents = append(r.parents, p)
	return p.value
}

func (r *Registry[N]) allParents() []*Parent[N] {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.parents
}

// HasParents reports whether a namespace that does not exist may yet be created on demand.
func (r *Registry[N]) HasParents() bool { return len(r.allParents()) > 0 }

// Resolve returns the namespace of this name for a client with this payload of CONNECT. It creates the namespace if a
// parent allows it. It returns ErrUnknown or ErrTooMany, and blocks for as long as the functions do.
func (r *Registry[N]) Resolve(name string, auth []byte) (n N, err error) {
	if n, ok := r.Lookup(name); ok {
		return n, nil
	}
	for _, p := range r.allParents() {
		var ok bool
		if p.pattern != nil {
			ok = p.pattern.MatchString(name)
		} else {
			allowed, err := p.allow(name, auth)
			ok = allowed && err == nil
		}
		if ok && !r.isClosed() {
			return r.obtain(name, p, true, r.opts.MaxDynamic)
		}
	}
	return n, ErrUnknown
}

func (r *Registry[N]) isClosed() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.closed
}

// Namespace returns the namespace of p itself.
func (p *Parent[N]) Namespace() N { return p.value }

// Child returns the namespace of this name, which it creates as a child of p if there is none. The application asks
// for it, so Options.MaxDynamic does not apply.
func (p *Parent[N]) Child(name string) N {
	n, _ := p.registry.obtain(name, p, true, 0)
	return n
}

// Children returns the namespaces that p has allowed, in the order of their creation.
func (p *Parent[N]) Children() []N {
	p.registry.mu.RLock()
	defer p.registry.mu.RUnlock()
	return values(p.children)
}
