package socketio

import (
	"context"
	"maps"
	"regexp"
	"slices"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/namespace"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// OfPattern returns a parent for all namespaces whose names match pattern. They are created when clients request them.
// As in the reference, a match of a part of the name suffices; use ^ and $ to match all of it. A new child gets copies
// of the parent's middleware and handlers; later registrations do not affect it. Broadcasts from the parent reach the
// sockets of all children. The parent has no sockets of its own, and does not support FetchSockets.
//
// An existing namespace takes precedence. Patterns and functions are tried in the order of registration.
func (s *Server) OfPattern(pattern *regexp.Regexp) *Namespace {
	if pattern == nil {
		panic("socketio: nil pattern")
	}
	return s.registry.AddPattern(pattern, s.newParent)
}

// OfFunc is like OfPattern with a function that decides by the name and the payload of CONNECT. The function may block,
// and is called concurrently. An error refuses the namespace.
func (s *Server) OfFunc(allow func(name string, auth Value) (bool, error)) *Namespace {
	if allow == nil {
		panic("socketio: nil function")
	}
	return s.registry.AddFunc(func(name string, auth []byte) (bool, error) {
		if auth == nil {
			auth = []byte("{}")
		}
		return allow(name, Value{Data: auth})
	}, s.newParent)
}

// newParent makes the namespace of p itself.
func (s *Server) newParent(p *namespace.Parent[*Namespace], name string) *Namespace {
	return &Namespace{space{server: s, name: name, parent: p, adapter: &fanOut{p}}}
}

// CreateChild returns the namespace with this name. If there is none, CreateChild creates it as a child of n, as for a
// client that requests it. It panics if n was not returned by OfPattern or OfFunc.
func (n *Namespace) CreateChild(name string) *Namespace {
	if n.parent == nil {
		panic("socketio: CreateChild of a namespace that is no parent")
	}
	return n.parent.Child(name)
}

// inherit copies the middleware and handlers registered on p.
func (n *Namespace) inherit(p *Namespace) {
	n.handlers.byName.Store(p.handlers.byName.Load())
	n.handlers.any.copy(&p.handlers.any)
	n.middleware.copy(&p.middleware)
	n.connect.copy(&p.connect)
	n.disconnecting.copy(&p.disconnecting)
	n.disconnect.copy(&p.disconnect)
	n.errors.copy(&p.errors)
	n.rooms.copy(&p.rooms)
}

// fanOut is the adapter of a parent. It passes operations on to the adapters of the children.
type fanOut struct {
	parent *namespace.Parent[*Namespace]
}

var _ adapter.Adapter = (*fanOut)(nil)

// all calls f with each child and returns the first error.
func (a *fanOut) all(f func(*Namespace) error) (first error) {
	for _, n := range a.parent.Children() {
		if err := f(n); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (a *fanOut) Broadcast(p *parser.Packet, o adapter.Options) error {
	return a.all(func(n *Namespace) error {
		own := *p
		own.Namespace = n.name
		return n.adapter.Broadcast(&own, o)
	})
}

// BroadcastWithAck sends nothing and returns no answers, like the reference.
func (a *fanOut) BroadcastWithAck(context.Context, *parser.Packet, adapter.Options) ([]parser.Args, error) {
	return []parser.Args{}, nil
}

func (a *fanOut) FetchSockets(context.Context, adapter.Options) ([]adapter.Description, error) {
	return nil, adapter.ErrUnsupported
}

func (a *fanOut) AddSockets(o adapter.Options, rooms ...string) error {
	return a.all(func(n *Namespace) error { return n.adapter.AddSockets(o, rooms...) })
}

func (a *fanOut) RemoveSockets(o adapter.Options, rooms ...string) error {
	return a.all(func(n *Namespace) error { return n.adapter.RemoveSockets(o, rooms...) })
}

func (a *fanOut) DisconnectSockets(o adapter.Options, closeConn bool) error {
	return a.all(func(n *Namespace) error { return n.adapter.DisconnectSockets(o, closeConn) })
}

func (a *fanOut) RoomNames() []string {
	rooms := make(map[string]struct{})
	_ = a.all(func(n *Namespace) error {
		for _, room := range n.adapter.RoomNames() {
			rooms[room] = struct{}{}
		}
		return nil
	})
	return slices.Collect(maps.Keys(rooms))
}

func (a *fanOut) Each(o adapter.Options, f func(adapter.Socket) bool) {
	more := true
	_ = a.all(func(n *Namespace) error {
		if more {
			n.adapter.Each(o, func(s adapter.Socket) bool {
				more = f(s)
				return more
			})
		}
		return nil
	})
}

func (a *fanOut) Socket(id string) (found adapter.Socket, ok bool) {
	_ = a.all(func(n *Namespace) error {
		if !ok {
			found, ok = n.adapter.Socket(id)
		}
		return nil
	})
	return found, ok
}

func (a *fanOut) ServerSideEmit(args parser.Args) error {
	return a.all(func(n *Namespace) error { return n.adapter.ServerSideEmit(args) })
}

func (a *fanOut) ServerSideEmitWithAck(context.Context, parser.Args) ([]parser.Args, error) {
	return nil, adapter.ErrUnsupported
}

func (a *fanOut) ServerCount(context.Context) (int, error) { return 0, adapter.ErrUnsupported }

// A parent has no sockets of its own.

func (a *fanOut) Add(adapter.Socket, ...string) error   { return nil }
func (a *fanOut) Remove(adapter.Socket, string)         {}
func (a *fanOut) RemoveAll(adapter.Socket)              {}
func (a *fanOut) Rooms(adapter.Socket) []string         { return nil }
func (a *fanOut) Recovers() bool                        { return false }
func (a *fanOut) PersistSession(*adapter.Session) error { return nil }
func (a *fanOut) Close(context.Context) error           { return nil }
func (a *fanOut) RestoreSession(context.Context, string, string) (*adapter.Restored, error) {
	return nil, nil
}
