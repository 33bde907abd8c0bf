package engineio

import (
	"net/http"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport/polling"
)

// pollingState is the state of a session that uses polling.
type pollingState struct {
	conn  *polling.Conn
	timer wheel.Timer // ends a closing session

	// Guarded by Session.mu.
	upgrade *upgrade       // the upgrade in progress, if any
	unsent  []polling.Item // the queue when the session ended, until HandleClose has returned
}

// pollingHandler is the polling.Handler of a session.
type pollingHandler Session

func (h *pollingHandler) HandlePayload(next func() (p packet.Packet, ok bool, err error)) {
	s := (*Session)(h)
	if !s.enter() {
		return
	}
	defer s.leave()
	run := false
	for more := true; more; {
		p, ok, err := next()
		if err != nil {
			s.end(ParseError, err, packet.Close)
		}
		if !ok {
			break
		}
		var r bool
		r, more = s.receive(p)
		run = run || r
	}
	if run {
		go s.handler.Run()
	}
}

func (h *pollingHandler) HandleDrain() {
	s := (*Session)(h)
	if s.flags.Load()&flagClosing == 0 {
		s.hook(hookFlush)
		s.hook(hookDrain)
		s.handler.HandleDrain()
		return
	}
	s.mu.Lock()
	p := s.polling
	s.mu.Unlock()
	if p != nil && p.conn.Queued() == 0 {
		s.scheduleEnd(p)
	}
}

func (h *pollingHandler) HandleError(err error) { (*Session)(h).end(TransportError, err, packet.Close) }

func (h *pollingHandler) HandlePanic(panicked any, stack []byte) {
	s := (*Session)(h)
	s.server.options.Logger.Error("function for headers panicked", "sid", s.ID(), "panic", panicked, "stack", string(stack))
	s.Abort()
}

func (h *pollingHandler) HandleEnd() { (*Session)(h).end(ForcedClose, nil, packet.Close) }

// servePolling serves a GET or POST of the session. It returns false, having written nothing, if the session no longer
// uses polling.
func (s *Session) servePolling(w http.ResponseWriter, r *http.Request) bool {
	s.settleUpgrade(r.Context())
	s.mu.Lock()
	p := s.polling
	s.mu.Unlock()
	if p == nil {
		return false
	}
	defer func() {
		if s.finished() {
			s.server.sessions.remove(s)
		}
	}()
	return p.conn.Serve(w, r) == nil
}

// finished reports whether the session has ended and would not answer another poll.
func (s *Session) finished() bool {
	if s.flags.Load()&flagLeft == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polling == nil || !s.polling.conn.Late()
}
