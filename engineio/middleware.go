package engineio

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
)

// Use adds middleware for the requests that the Server serves, WebSocket handshakes included. Requests pass CORS, then
// middleware in the order of the calls of Use. Header fields that middleware sets are part of the response. Middleware
// that does not call the next handler has answered the request; see Refuse. A second call of the next handler for the
// same request does nothing. Use calls middleware once. Node.js: engine.use.
func (s *Server) Use(middleware func(http.Handler) http.Handler) {
	behind := &link{server: s}
	h := middleware(behind)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.next.Store(&h)
	s.last = behind
}

// link is the handler that a middleware calls: the next middleware or, behind the last one, the Server.
type link struct {
	server *Server
	next   atomic.Pointer[http.Handler] // nil behind the last middleware
}

// served is the key, in the context of a request that passes middleware, of an *atomic.Bool: the Server has served it.
type served struct{ by *Server }

// ServeHTTP implements [http.Handler].
func (l *link) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	next, key := l.next.Load(), served{l.server}
	done, known := r.Context().Value(key).(*atomic.Bool)
	switch {
	case next == nil && known && done.Swap(true):
		// A middleware has called its next handler twice.
	case next == nil:
		l.server.serve(w, r)
	default:
		if !known {
			r = r.WithContext(context.WithValue(r.Context(), key, new(atomic.Bool)))
		}
		(*next).ServeHTTP(w, r)
	}
}

// corsFunc applies the policy that Options.CORSFunc returns for a request.
func (s *Server) corsFunc(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		policy, err := s.options.CORSFunc(r)
		if err != nil {
			s.Refuse(w, r, err)
			return
		}
		policy.Handler(next).ServeHTTP(w, r)
	})
}

// survive refuses a request whose middleware has panicked.
func (s *Server) survive(w http.ResponseWriter, r *http.Request) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		s.options.Logger.Error("panic while serving a request", "remote", r.RemoteAddr, "panic", p, "stack", string(debug.Stack()))
		s.Refuse(w, r, fmt.Errorf("engineio: panic: %v", p))
	}
}

// Refuse answers r as the reference does after an error in a middleware: with CodeBadRequest.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := refusal(r, CodeBadRequest, map[string]any{"name": "MIDDLEWARE_FAILURE"})
	e.Err = err
	s.refuse(w, e, s.isUpgrade(r))
}
