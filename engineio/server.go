package engineio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/epoll"
	"github.com/myriad-rt/myriad/transport/polling"
)

// Server is an [http.Handler] that serves the sessions of Engine.IO clients. All methods are safe for concurrent use.
type Server struct {
	options  *Options
	sessions *registry
	frequent *frequent // header lines of handshakes
	wheel    *wheel.Wheel
	polling  *polling.Config   // nil if the transport is not enabled
	sockets  *epoll.Server     // nil if the transport is not enabled
	budget   *transport.Budget // for the queues of all clients; nil without a limit

	openTail, openTailPolling string // the data of the open packet after the id

	handler http.Handler // CORS, then first
	first   *link        // in front of the first middleware
	mu      sync.Mutex   // guards last
	last    *link        // behind the last middleware

	closing atomic.Bool // no session is opened any more
	figures figures
}

// figures are the counters behind Stats.
type figures struct {
	opened, refused, upgraded atomic.Uint64
	closed                    [len(reasons)]atomic.Uint64
}

var reasons = [...]CloseReason{TransportClose, TransportError, PingTimeout, ParseError, ForcedClose}

// Stats are figures of a Server since it was made.
type Stats struct {
	Sessions    int                    // open now
	Opened      uint64                 // sessions
	Upgraded    uint64                 // sessions that went from polling to WebSocket
	Refused     uint64                 // requests answered with an error code
	Closed      map[CloseReason]uint64 // sessions
	QueuedBytes int64                  // bytes waiting for clients now; 0 without MaxQueuedBytesTotal
	WebSocket   epoll.Stats
}

// NewServer returns a Server. The first WebSocket connection starts event loops, which hold descriptors and goroutines
// until Close or Shutdown. NewServer returns an error if o is invalid, for example nil or without OnSession.
func NewServer(o *Options) (*Server, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{options: options, sessions: newRegistry(), frequent: newFrequent(), wheel: wheel.New()}
	s.budget = s.newBudget()
	if slices.Contains(options.Transports, Polling) {
		s.polling = &polling.Config{
			MaxBodyBytes:   options.MaxHTTPBufferSize,
			MaxBodyPieces:  options.MaxBodyPieces,
			BodyTimeout:    options.BodyTimeout,
			MaxQueuedBytes: options.MaxQueuedBytes,
			Budget:         s.budget,
			CompressFrom:   max(options.HTTPCompression.Threshold, 0),
		}
		if options.OnInitialHeaders != nil || options.OnHeaders != nil {
			s.polling.Header = s.pollingHeader
		}
		if options.HTTPCompression.Disabled {
			s.polling.CompressFrom = -1
		}
	}
	if slices.Contains(options.Transports, WebSocket) {
		s.sockets, err = epoll.NewServer(&epoll.Options{
			Loops:             options.Loops,
			MaxMessageBytes:   int64(options.MaxHTTPBufferSize),
			MaxQueuedBytes:    options.MaxQueuedBytes,
			Budget:            s.budget,
			PerMessageDeflate: options.PerMessageDeflate,
			DisableEpoll:      options.DisableEpoll,
			Logger:            options.Logger,
		})
		if err != nil {
			return nil, fmt.Errorf("engineio: %w", err)
		}
	}
	var upgrades []string
	if !options.DisableUpgrades {
		for _, t := range []string{WebSocket, WebTransport} {
			if slices.Contains(options.Transports, t) {
				upgrades = append(upgrades, t)
			}
		}
	}
	tail := `,"upgrades":%s,"pingInterval":%d,"pingTimeout":%d,"maxPayload":%d}`
	interval, timeout := options.PingInterval.Milliseconds(), options.PingTimeout.Milliseconds()
	s.openTail = fmt.Sprintf(tail, "[]", interval, timeout, options.MaxHTTPBufferSize)
	s.openTailPolling = fmt.Sprintf(tail, jsontext.AppendStrings(nil, upgrades), interval, timeout, options.MaxHTTPBufferSize)
	s.first = &link{server: s}
	s.last = s.first
	if s.handler = options.CORS.Handler(s.first); options.CORSFunc != nil {
		s.handler = s.corsFunc(s.first)
	}
	return s, nil
}

// IsPlain reports whether r can be served with a ResponseWriter that sends only complete responses: no middleware sees
// r, and its body cannot be refused for its size before it has arrived.
func (s *Server) IsPlain(r *http.Request) bool {
	return s.first.next.Load() == nil && r.ContentLength <= int64(s.options.MaxHTTPBufferSize)
}

// ServeHTTP serves requests whose path begins with Options.Path. The response to other requests has status 404. A router
// passes no other requests to a Server, so the reference's option destroyUpgrade has no counterpart.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.EscapedPath(), s.options.Path) {
		http.NotFound(w, r)
		return
	}
	defer s.survive(w, r)
	s.handler.ServeHTTP(w, r)
}

// serve serves a request that has passed all middleware.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	upgrade := s.isUpgrade(r)
	p := parseParams(r.URL)
	session, e := s.verify(r, &p, upgrade)
	switch {
	case e != nil:
		s.refuse(w, e, upgrade)
	case upgrade:
		s.serveUpgrade(w, r, &p, session)
	case session == nil:
		s.openPolling(w, r, &p)
	default:
		if session.servePolling(w, r) {
			return
		}
		// The session ended, or switched transports, in the meantime.
		if _, e = s.verify(r, &p, upgrade); e == nil {
			e = refusal(r, CodeUnknownSession, map[string]any{"sid": p.sid})
		}
		s.refuse(w, e, false)
	}
}

// isUpgrade reports whether r requests an upgrade to another protocol. Without the WebSocket transport, such requests
// are ordinary ones, as in the reference.
func (s *Server) isUpgrade(r *http.Request) bool {
	return s.sockets != nil && r.Header.Get("Upgrade") != "" &&
		slices.ContainsFunc(r.Header["Connection"], func(value string) bool {
			return strings.Contains(strings.ToLower(value), "upgrade")
		})
}

// refuse answers a request with an error code.
func (s *Server) refuse(w http.ResponseWriter, e *ConnectionError, upgrade bool) {
	s.figures.refused.Add(1)
	if s.options.OnConnectionError != nil {
		s.options.OnConnectionError(e)
	}
	answer := e.answer
	if answer == "" {
		answer = e.Message
	}
	if upgrade {
		refuseUpgrade(w, http.StatusBadRequest, answer)
	} else {
		status := http.StatusBadRequest
		if e.Code == CodeForbidden {
			status = http.StatusForbidden
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"code":%d,"message":%s}`, e.Code, quoteJSON(answer))
	}
}

// refusalTimeout bounds the time for writing the refusal of an upgrade.
const refusalTimeout = 5 * time.Second

// refuseUpgrade answers an upgrade with text and closes the connection.
func refuseUpgrade(w http.ResponseWriter, status int, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrHijacked) {
		return // after a panic: the connection is no longer ours
	}
	if err != nil {
		h := w.Header()
		h.Set("Connection", "close")
		h.Set("Content-Type", "text/html")
		h.Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(refusalTimeout))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), len(text), text)
}

// quoteJSON returns s as a JSON string.
func quoteJSON(s string) string {
	var few [64]byte
	return string(jsontext.AppendString(few[:0], s))
}

// pollingHeader completes the header of a successful response of the polling transport.
func (s *Server) pollingHeader(h http.Header, r *http.Request) {
	if s.options.OnInitialHeaders != nil && parseParams(r.URL).sid == "" {
		s.options.OnInitialHeaders(h, r)
	}
	if s.options.OnHeaders != nil {
		s.options.OnHeaders(h, r)
	}
}

// ClientsCount returns the number of sessions that have not ended. Node.js: engine.clientsCount.
func (s *Server) ClientsCount() int { return s.sessions.count.Len() }

// Sessions returns the sessions that have not ended.
func (s *Server) Sessions() []*Session { return s.sessions.all(false) }

// Session returns the session with this id. It returns nil if there is none, or if it is still being opened.
func (s *Server) Session(id string) *Session {
	session := s.sessions.get(id)
	if session == nil || session.flags.Load()&(flagOpened|flagClosed) != flagOpened {
		return nil
	}
	return session
}

// Stats returns the current figures.
func (s *Server) Stats() Stats {
	stats := Stats{
		Sessions:    s.ClientsCount(),
		Opened:      s.figures.opened.Load(),
		Upgraded:    s.figures.upgraded.Load(),
		Refused:     s.figures.refused.Load(),
		Closed:      make(map[CloseReason]uint64, len(reasons)),
		QueuedBytes: s.budget.Used(),
	}
	for i, reason := range reasons {
		stats.Closed[reason] = s.figures.closed[i].Load()
	}
	if s.sockets != nil {
		stats.WebSocket = s.sockets.Stats()
	}
	return stats
}

// closeGrace is how long Close waits for peers to answer close frames.
const closeGrace = time.Second

// Close closes all sessions immediately with ForcedClose, drops messages queued for polling clients, and releases all
// resources. No more sessions are opened. WebSocket clients have one second to answer the close frame. If a hook or
// handler calls Close, Close does not wait for it. Close returns nil.
func (s *Server) Close() error {
	s.closing.Store(true)
	for _, session := range s.sessions.all(true) {
		session.Abort()
	}
	if s.sockets != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		_ = s.sockets.Shutdown(ctx) // an error means that a peer has not answered
	}
	s.wheel.Close()
	return nil
}

// Shutdown closes all sessions gracefully, as by Session.Close, so that queued messages are delivered. When ctx is done,
// Shutdown closes the remaining sessions as by Close, and returns the error of ctx. No more sessions are opened.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	for _, session := range s.sessions.all(true) {
		session.Close()
	}
	err := s.sessions.count.Wait(ctx)
	// If little time is left, Close gives peers a moment to receive the close frame.
	if end, ok := ctx.Deadline(); s.sockets != nil && err == nil && (!ok || time.Until(end) > closeGrace) {
		err = s.sockets.Shutdown(ctx)
	}
	_ = s.Close() // always nil
	return err
}
