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
	listeners map[net.Listener]struct{}
	closing   bool
}

// New returns a Server. It holds no resources before Serve or ServeTLS is called.
func New(c Config) *Server {
	s := &Server{config: c, listeners: make(map[net.Listener]struct{})}
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
	if s.config.DisableEpoll || !watchable(l) {
		return s.rest.Serve(l)
	}
	defer l.Close()
	if err := s.open(l); err != nil {
		return err
	}
	err := s.accept(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	if s.closing {
		return http.ErrServerClosed
	}
	return err
}

// open prepares s for connections of l.
func (s *Server) open(l net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return http.ErrServerClosed
	}
	if err := s.own.start(s.rest); err != nil {
		return err
	}
	s.listeners[l] = struct{}{}
	return nil
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
	for l := range s.listeners {
		l.Close() // it may be closed already
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
