package httpserver

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/internal/wheel"
)

// maxHead is the size in bytes of the largest request head that is accepted.
const maxHead = 16 << 10

// Config is what a Server needs to know. No field but TLS may be zero.
type Config struct {
	// Handler serves all requests.
	Handler http.Handler
	// Plain reports whether Handler can serve r with a ResponseWriter that sends the response when it is complete and
	// is a Hijacker and a [polling.Parker], but no Flusher. The body of r must not be touched.
	Plain func(r *http.Request) bool
	// Immediate reports whether Handler answers r, a plain WebSocket handshake, without calling a function of the
	// application. r is not valid after Handler has returned then.
	Immediate func(r *http.Request) bool

	// HeadTimeout is how long a client may take to send a request head: from the beginning of the connection, or from
	// the first byte of a later head.
	HeadTimeout time.Duration
	// IdleTimeout is how long a connection may wait for the next request.
	IdleTimeout time.Duration
	// DisableEpoll leaves all connections to net/http.
	DisableEpoll bool
	// TLS is for ServeTLS. It may be nil. It is not changed.
	TLS *tls.Config
	// Wheel has the deadlines of connections. It is not closed.
	Wheel *wheel.Wheel
	// Logger is told of faults.
	Logger *slog.Logger
}

// Server serves HTTP on any number of listeners. All methods are safe for concurrent use.
type Server struct {
	config Config
	rest   *http.Server // serves what is not served here
	own    watcher

	mu        sync.Mutex
	acceptors map[*acceptor]struct{}
	closing   bool
}

// New returns a Server. It holds no resources before Serve or ServeTLS is called.
func New(c Config) *Server {
	s := &Server{config: c, acceptors: make(map[*acceptor]struct{})}
	s.rest = &http.Server{
		Handler:           c.Handler,
		ReadHeaderTimeout: c.HeadTimeout,
		IdleTimeout:       c.IdleTimeout,
		MaxHeaderBytes:    maxHead - headSlop,
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn),
	}
	if c.TLS != nil {
		s.rest.TLSConfig = c.TLS.Clone()
	}
	return s
}

// headSlop is how much longer than MaxHeaderBytes net/http lets a head be.
const headSlop = 4 << 10

// Serve accepts connections from l until l is closed or fails, which ends Serve with the error of Accept, or until
// Shutdown. It closes l. After Shutdown it returns [http.ErrServerClosed]; the other error that it can
// return is that of a system call.
func (s *Server) Serve(l net.Listener) error {
	if s.config.DisableEpoll {
		return s.rest.Serve(l)
	}
	a, err := newAcceptor(l)
	if a == nil && err == nil {
		return s.rest.Serve(l)
	}
	defer l.Close()
	if err == nil {
		defer a.close()
		err = s.serve(a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.acceptors, a)
	if s.closing {
		return http.ErrServerClosed
	}
	return err
}

// serve serves the connections of a until it fails.
func (s *Server) serve(a *acceptor) error {
	if err := s.open(a); err != nil {
		return err
	}
	return s.accept(a)
}

// open prepares s for connections of a.
func (s *Server) open(a *acceptor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return http.ErrServerClosed
	}
	s.acceptors[a] = struct{}{}
	return s.own.start(s.rest)
}

// ServeTLS is Serve over TLS. The certificate and its key are read from PEM files, or are those of Config.TLS if
// the names are empty.
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	return s.rest.ServeTLS(l, certFile, keyFile)
}

// Shutdown closes the listeners and the connections that wait for a request, and waits until the others have taken their
// answers. When ctx ends first, it closes those that are left and returns the error of ctx. Hijacked
// connections are not of its concern.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for a := range s.acceptors {
		a.stop()
	}
	s.mu.Unlock()
	s.own.stop()
	err := s.rest.Shutdown(ctx)
	if err != nil {
		s.rest.Close()
	}
	if e := s.own.wait(ctx); err == nil {
		err = e
	}
	return err
}
