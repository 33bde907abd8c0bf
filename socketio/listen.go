package socketio

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/myriad-rt/myriad/internal/httpserver"
	"github.com/myriad-rt/myriad/internal/reuseport"
)

const (
	// headTimeout is how long a client may take to send a request head. Node.js: headersTimeout.
	headTimeout = 60 * time.Second
	// defaultCloseGrace is how long Close waits for responses to be written.
	defaultCloseGrace = time.Second
)

// ListenAndServe listens on the TCP address addr and serves requests until Shutdown or Close. It then returns
// http.ErrServerClosed. An empty addr means ":http".
//
// The Server behaves as in an http.Server, at a lower cost. On Linux, it handles WebSocket handshakes directly, and a
// waiting poll has no goroutine unless the Engine has middleware. Requests outside the server's path go to
// Options.NotFound.
//
// A request head may have up to 16 KiB and must arrive within a minute. Options.IdleTimeout ends connections that wait
// for a request. TCP keep-alive ends those whose client has vanished.
func (s *Server) ListenAndServe(addr string) error {
	l, err := s.listen(addr, ":http")
	if err != nil {
		return err
	}
	return s.Serve(l)
}

// ListenAndServeTLS is like ListenAndServe over TLS. The certificate chain and the key are in two PEM files. The names
// may be empty if Options.TLSConfig has certificates. An empty addr means ":https".
func (s *Server) ListenAndServeTLS(addr, certFile, keyFile string) error {
	l, err := s.listen(addr, ":https")
	if err != nil {
		return err
	}
	return s.ServeTLS(l, certFile, keyFile)
}

func (s *Server) listen(addr, otherwise string) (net.Listener, error) {
	if addr == "" {
		addr = otherwise
	}
	return reuseport.Listen(context.Background(), addr, s.opts.ReusePort)
}

// Serve is like ListenAndServe on an existing listener, which it closes. If l is closed or fails, Serve returns the
// error of l.Accept; existing connections are served until Shutdown or Close.
func (s *Server) Serve(l net.Listener) error { return s.http.Serve(l) }

// ServeTLS is like ListenAndServeTLS on an existing listener; see Serve.
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	return s.http.ServeTLS(l, certFile, keyFile)
}

func (s *Server) newHTTPServer() *httpserver.Server {
	return httpserver.New(httpserver.Config{
		Handler:      s,
		Plain:        s.isPlain,
		Immediate:    s.isImmediate,
		HeadTimeout:  headTimeout,
		IdleTimeout:  s.opts.IdleTimeout,
		DisableEpoll: s.opts.DisableEpoll,
		TLS:          s.opts.TLSConfig,
		Wheel:        s.wheel,
		Logger:       s.opts.Logger,
	})
}

// isPlain reports whether the engine serves r with a simple ResponseWriter. Handlers of other paths may want more of one.
func (s *Server) isPlain(r *http.Request) bool {
	return r.URL.Path == s.path && (r.ContentLength == 0 || r.Method == http.MethodPost) && s.engine.IsPlain(r)
}

// isImmediate reports whether a plain WebSocket handshake runs no function of the application.
func (s *Server) isImmediate(*http.Request) bool {
	o := s.opts
	return o.AllowRequest == nil && o.GenerateID == nil && o.CORSFunc == nil && o.OnInitialHeaders == nil &&
		o.OnHeaders == nil && o.OnConnectionError == nil && o.Value == nil && o.Hooks == nil
}
