package namespace

import (
	"fmt"
	"regexp"
)

// Parent represents the dynamic namespaces allowed by one pattern or function. It has its own namespace, which has
// no name to request it by.
type Parent[N any] struct {
	registry *Registry[N]
	pattern  *regexp.Regexp
	allow    func(name string, auth []byte) (bool, error)
	value    N

	children []*Entry[N] // guarded by the lock of the registry
}

// AddPattern makes a parent of all names that match pattern. It calls make with the parent and a name; make returns
// the parent's own namespace.
//
// Existing names take precedence over parents, and earlier parents over later ones.
func (r *Registry[N]) AddPattern(pattern *regexp.Regexp, make func(p *Parent[N], name string) N) N {
	return r.add(&Parent[N]{registry: r, pattern: pattern}, make)
}

// AddFunc is AddPattern with a function that decides. allow receives the payload of CONNECT, may block and may be
// called concurrently. An error means no.
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

// HasParents reports whether namespaces can be created on demand.
func (r *Registry[N]) HasParents() bool { return len(r.allParents()) > 0 }

// Resolve returns the namespace with this name for a client with this CONNECT payload. It creates the namespace if
// a parent allows it. It returns ErrUnknown or ErrTooMany, and blocks while the functions do.
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

// Namespace returns the parent's own namespace.
func (p *Parent[N]) Namespace() N { return p.value }

// Child returns the namespace with this name and creates it as a child of p if necessary. Options.MaxDynamic does
// not apply, because the application requests it.
func (p *Parent[N]) Child(name string) N {
	n, _ := p.registry.obtain(name, p, true, 0)
	return n
}

// Children returns the namespaces that p has allowed, in order of creation.
func (p *Parent[N]) Children() []N {
	p.registry.mu.RLock()
	defer p.registry.mu.RUnlock()
	return values(p.children)
}
