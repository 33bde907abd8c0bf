package socketio

import (
	"context"
	"errors"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/internal/drain"
	"github.com/myriad-rt/myriad/internal/httpserver"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/namespace"
)

// Server is a Socket.IO server, and also its namespace "/". It is an [http.Handler]. All methods are safe for
// concurrent use.
type Server struct {
	*space // of the namespace "/"

	opts     *Options
	path     string // prefix of the paths that are served
	engine   *engineio.Server
	registry *namespace.Registry[*Namespace]
	root     *Namespace // "/"
	files    *clientFiles
	wheel    *wheel.Wheel // time-outs for joining a namespace
	clock    clock
	decoders sync.Pool // of Options.Parser
	http     *httpserver.Server
	grace    time.Duration // of Close
	clients  drain.Group   // that have not been disconnected to the end
	corkTime time.Duration
	closing  atomic.Bool
}

// NewServer returns a server. opts may be nil, and is copied. NewServer panics if opts is invalid, for example if a
// duration is negative or a transport unknown.
//
// A server that has served requests holds descriptors and goroutines until Shutdown or Close.
func NewServer(opts *Options) *Server {
	o := opts.withDefaults()
	s := &Server{opts: o, path: strings.TrimSuffix(o.Path, "/"), wheel: wheel.New(), corkTime: defaultCorkTime, grace: defaultCloseGrace}
	s.clock.init()
	s.decoders.New = func() any { return o.Parser.NewDecoder() }
	if !o.DisableTrailingSlash {
		s.path += "/"
	}
	s.registry = namespace.NewRegistry(namespace.Options[*Namespace]{
		New:        s.newNamespace,
		Close:      func(ctx context.Context, n *Namespace) error { return n.adapter.Close(ctx) },
		DropEmpty:  o.DropEmptyNamespaces,
		MaxDynamic: max(o.MaxDynamicNamespaces, 0),
		Logger:     o.Logger,
	})
	s.root = s.registry.Of("/")
	s.space = &s.root.space
	if o.Recovery != nil && !s.Recovers() {
		o.Logger.Warn("the adapter cannot restore sessions: clients begin anew when they lose their connection")
	}
	if o.MaxUnhandledBytes < 0 {
		panic("socketio: negative Options.MaxUnhandledBytes")
	}
	engine, err := engineio.NewServer(o.engine(s.accept))
	if err != nil {
		panic("socketio: " + err.Error())
	}
	s.engine = engine
	s.http = s.newHTTPServer()
	if o.ClientFiles != nil {
		s.files = newClientFiles(o.ClientFiles, o.Logger)
	}
	return s
}

// accept makes the client of a session that has just been opened.
func (s *Server) accept(session *engineio.Session) engineio.Handler {
	c := &client{server: s, session: session}
	s.clients.Add(1)
	c.startTimeout()
	if session.Protocol() == 3 {
		c.joinImplicitly()
	}
	return c
}

// Of returns the namespace with this name, creating it if necessary. A missing leading "/" is added; "" means "/".
func (s *Server) Of(name string) *Namespace { return s.registry.Of(name) }

// Namespaces returns the namespaces, except the parents of dynamic ones, in the order of their creation.
func (s *Server) Namespaces() []*Namespace { return s.registry.All() }

// Lookup returns the namespace with this name, if it exists.
func (s *Server) Lookup(name string) (*Namespace, bool) { return s.registry.Lookup(name) }

// OnNewNamespace registers f to be called with each namespace created from now on. Node.js: event new_namespace.
func (s *Server) OnNewNamespace(f func(*Namespace)) {
	if f == nil {
		panic("socketio: nil function")
	}
	s.registry.OnNew(f)
}

// Engine returns the Engine.IO layer.
func (s *Server) Engine() *engineio.Server { return s.engine }

// ServeHTTP implements [http.Handler]. It returns when the request has been served, or when it has taken over a
// WebSocket connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch name, ok := s.clientFile(r); {
	case ok:
		s.cors(s.files.handler(name)).ServeHTTP(w, r)
	case !strings.HasPrefix(r.URL.EscapedPath(), s.path):
		s.opts.NotFound.ServeHTTP(w, r)
	default:
		s.engine.ServeHTTP(w, r)
	}
}

// clientFile returns the name of the client file that a request asks for.
func (s *Server) clientFile(r *http.Request) (name string, ok bool) {
	if s.files == nil {
		return "", false
	}
	dir, name := path.Split(r.URL.EscapedPath())
	return name, dir == strings.TrimSuffix(s.path, "/")+"/" && s.files.has(name)
}

// cors applies the policy of the options to requests for next.
func (s *Server) cors(next http.Handler) http.Handler {
	if s.opts.CORSFunc == nil {
		return s.opts.CORS.Handler(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		policy, err := s.opts.CORSFunc(r)
		if err != nil {
			s.engine.Refuse(w, r, err)
			return
		}
		policy.Handler(next).ServeHTTP(w, r)
	})
}

// Shutdown stops the server gracefully. It closes the listeners that the server has opened, refuses new sessions,
// disconnects sockets with "server shutting down", and sends queued messages. It returns when all disconnect handlers
// have returned and all resources are released. When ctx ends first, Shutdown releases the rest immediately and returns
// the error of ctx.
//
// As in the reference, clients notice only the end of their connection, so they reconnect, possibly to another node.
// The application must close the listeners that it has opened, after Shutdown.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.close(ctx, func() error { return s.engine.Shutdown(ctx) }, func() error { return s.http.Shutdown(ctx) })
}

// Close stops the server immediately. Messages queued for clients are lost. Clients have one second to receive the end
// of their connection or poll. Disconnect handlers are still called; Close does not wait for them.
func (s *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.close(ctx, s.engine.Close, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), s.grace)
		defer cancel()
		_ = s.http.Shutdown(ctx) // an error means that a client has not taken its answer
		return nil
	})
	if errors.Is(err, context.Canceled) { // adapters add context
		return nil
	}
	return err
}

func (s *Server) close(ctx context.Context, engine, listeners func() error) error {
	s.closing.Store(true)
	for _, n := range s.registry.All() {
		for _, socket := range n.Sockets() {
			if socket.end(ServerShuttingDown, nil) {
				socket.client.schedule()
			}
		}
	}
	err := engine()
	if e := listeners(); err == nil {
		err = e
	}
	if e := s.clients.Wait(ctx); err == nil {
		err = e
	}
	s.wheel.Close()
	if e := s.registry.Close(ctx); err == nil {
		err = e
	}
	return err
}
