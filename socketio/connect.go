package socketio

import (
	"math"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/myriad-rt/myriad/namespace"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// connect handles a CONNECT packet for a namespace that the client is not in.
func (c *client) connect(name string, p *parser.Packet) (run bool) {
	var auth []byte
	if len(p.Data) > len("{}") {
		auth = p.Data
	}
	if n, ok := c.server.registry.Lookup(name); ok && c.join(n, auth) {
		return true
	}
	if !c.server.registry.HasParents() {
		c.refuse(name, "Invalid namespace")
		return false
	}
	if !c.startDeciding() {
		c.refuse(name, tooManyNamespaces)
		return false
	}
	// The application's functions decide, and may wait.
	go c.decide(name, slices.Clone(auth))
	return false
}

const tooManyNamespaces = "Too many namespaces"

// startDeciding reports whether the client may ask for a namespace that is not there.
func (c *client) startDeciding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	max := c.server.opts.MaxNamespaces
	if max > 0 && c.countLocked()+int(c.deciding) >= max || c.deciding == math.MaxUint16 {
		return false
	}
	c.deciding++
	c.server.clients.Add(1)
	return true
}

// decide has the functions of the application decide about a namespace that is not there, and joins it if they allow it.
func (c *client) decide(name string, auth []byte) {
	decided := sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.deciding--
	})
	done := false
	defer func() {
		if !done { // one of them has panicked, or called runtime.Goexit
			c.panicked(nil, recover(), debug.Stack())
		}
		decided()
		c.server.clients.Add(-1)
	}()
	for {
		n, err := c.server.registry.Resolve(name, auth)
		decided() // before the client hears of it
		if err != nil {
			message := "Invalid namespace"
			if err == namespace.ErrTooMany {
				message = tooManyNamespaces
			}
			c.refuse(name, message)
			break
		}
		if c.join(n, auth) {
			if n.hold() { // the client may have gone: then an empty namespace goes, too
				n.release()
			}
			c.schedule()
			break
		}
	}
	done = true
}

// join makes a socket for the client. It reports false if n has been dropped meanwhile.
func (c *client) join(n *Namespace, auth []byte) bool {
	c.mu.Lock()
	if max := c.server.opts.MaxNamespaces; max > 0 && c.countLocked() >= max {
		c.mu.Unlock()
		c.refuse(n.Name(), tooManyNamespaces)
		return true
	}
	defer c.mu.Unlock()
	if c.ended || c.socketLocked(n.Name()) != nil {
		return true // it has gone, or asked twice while a function was deciding
	}
	s := newJoined(n, c, auth)
	if s == nil {
		return false
	}
	if c.first == nil {
		c.first = s
		return true
	}
	if c.others == nil {
		c.others = new([]*Socket)
	}
	*c.others = append(*c.others, s)
	return true
}

// refuse answers a CONNECT for a namespace that the client cannot join.
func (c *client) refuse(name, message string) {
	m, err := parser.EncodeMessage(c.server.opts.Parser, &parser.Packet{
		Type: parser.ConnectError, Namespace: name, Data: []byte(`{"message":"` + message + `"}`),
	})
	if err != nil {
		return // a constant always encodes
	}
	defer m.Release()
	_ = c.session.Send(m)
}
