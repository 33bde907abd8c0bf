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

// maxHead is the size in bytes of the largest accepted request head.
const maxHead = 16 << 10

// Config configures a Server. All fields except TLS must be set.
type Config struct {
	// Handler serves all requests.
	Handler http.Handler
	// Plain reports whether Handler can serve r with a ResponseWriter that sends the response when it is complete.
	// The writer is a Hijacker and a [polling.Parker], but no Flusher. Plain must not touch the body of r.
	Plain func(r *http.Request) bool
	// Immediate reports whether Handler answers r, a plain WebSocket handshake, without calling a function of the
	// application. If so, r is not valid after Handler has returned.
	Immediate func(r *http.Request) bool

	// HeadTimeout bounds the time in which a request head must arrive, counted from the start of the connection or
	// from the first byte of a later head.
	HeadTimeout time.Duration
	// IdleTimeout bounds the wait of a connection for its next request.
	IdleTimeout time.Duration
	// DisableEpoll leaves all connections to net/http.
	DisableEpoll bool
	// TLS is used by ServeTLS, which does not modify it. It may be nil.
	TLS *tls.Config
	// Wheel holds the deadlines of connections. The Server does not close it.
	Wheel *wheel.Wheel
	// Logger receives faults.
	Logger *slog.Logger
}

// Server serves HTTP on any number of listeners. All methods are safe for concurrent use.
type Server struct {
	config Config
	rest   *http.Server // serves all other connections
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

// headSlop is the amount by which net/http lets a head exceed MaxHeaderBytes.
const headSlop = 4 << 10

// Serve accepts connections from l until l is closed or fails, or until Shutdown. It closes l. It returns the error
// of Accept or, after Shutdown, [http.ErrServerClosed]. It may also return the error of a system call.
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

// open prepares s for the connections of a.
func (s *Server) open(a *acceptor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return http.ErrServerClosed
	}
	s.acceptors[a] = struct{}{}
	return s.own.start(s.rest)
}

// ServeTLS is Serve over TLS. The certificate and key are read from PEM files, or taken from Config.TLS if the
// names are empty.
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	return s.rest.ServeTLS(l, certFile, keyFile)
}

// Shutdown closes the listeners and all connections that wait for a request, and waits until the other connections
// have received their responses. If ctx is done first, it closes the remaining connections and returns the error of
// ctx. It does not affect hijacked connections.
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
