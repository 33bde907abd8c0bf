package socketio

import (
	"context"
	"iter"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Recovers reports whether clients that lose their connection can resume their session: recovery is enabled, and the
// adapter supports it.
func (n *space) Recovers() bool {
	return n.server.opts.Recovery != nil && n.adapter.Recovers()
}

// resumes returns the secret and the offset with which the client asks for its old session, or nothing if it
// does not, or they are not strings.
func (s *Socket) resumes() (pid, offset string) {
	if s.auth == nil || !s.ns.Recovers() {
		return "", ""
	}
	auth, ok := jsontext.Read([]byte(*s.auth), '{')
	hasPID, hasOffset := false, false
	for ok {
		var key, value []byte
		switch key, value, ok = auth.Member(); string(key) {
		case "pid":
			pid, hasPID = jsontext.String(value)
		case "offset":
			offset, hasOffset = jsontext.String(value)
		}
	}
	if !hasPID || !hasOffset {
		return "", ""
	}
	return pid, offset
}

// restore resumes the session with this secret, if there is one, and reports whether it has connected s: there is
// nothing more to do then than to run the client's queue, which calls the handlers. If s is as new, it is to go through
// middleware. An error is a refusal of middleware, which may want to see such sockets, too.
func (s *Socket) restore(pid, offset string, middleware []func(*Socket) error) (opened bool, refusal error) {
	if pid == "" {
		return false, nil
	}
	r, err := s.ns.adapter.RestoreSession(context.Background(), pid, offset)
	s.debugRestore(err)
	if r == nil {
		return false, nil
	}
	fresh := adapter.Session{ID: s.id, PID: s.more().pid}
	s.assume(&r.Session, true)
	if s.ns.server.opts.Recovery.RunMiddleware {
		if refusal = s.runMiddleware(middleware); refusal != nil {
			return false, refusal
		}
	}
	open := make(chan bool, 1)
	defer close(open)
	resumed, err := r.Resume(context.Background(), (*member)(s), func(missed iter.Seq[*parser.Packet]) bool {
		// Whatever the client sends when it hears of its connection is queued behind the handlers for that.
		s.client.queue.push(func() {
			if <-open {
				s.connected()
			}
		})
		return s.connect(missed)
	})
	s.debugRestore(err)
	if !resumed {
		s.assume(&fresh, false) // unless the client has left, its missed packets are no longer kept
		return false, nil
	}
	s.client.flush()
	s.client.joined()
	open <- true
	return true, nil
}

// assume makes s the socket of a session, which is not connected yet.
func (s *Socket) assume(session *adapter.Session, recovered bool) {
	x := s.more()
	s.id = session.ID
	x.pid, x.recovered = session.PID, recovered
	x.mu.Lock()
	defer x.mu.Unlock()
	x.data = session.Data
}

// debugRestore logs an error of the adapter, which tells the operator itself, at a bounded rate.
func (s *Socket) debugRestore(err error) {
	if err != nil {
		s.ns.server.opts.Logger.Debug("session cannot be restored", "namespace", s.ns.name, "err", err)
	}
}

// recoverable reports whether a client may resume a session that ended for this reason.
func recoverable(reason DisconnectReason) bool {
	switch reason {
	case TransportError, TransportClose, ForcedClose, PingTimeout, ServerShuttingDown, ForcedServerClose:
		return true
	}
	return false
}

// mayResume reports whether the client may resume its session after s has ended for this reason.
func (s *Socket) mayResume(reason DisconnectReason) bool {
	return recoverable(reason) && s.ns.Recovers()
}

// persist keeps the session of s for a client that may come back.
func (s *Socket) persist(reason DisconnectReason) {
	if !s.mayResume(reason) {
		return
	}
	err := s.ns.adapter.PersistSession(&adapter.Session{ID: s.id, PID: s.more().pid, Rooms: s.Rooms(), Data: s.Data()})
	if err != nil {
		s.ns.server.opts.Logger.Debug("session cannot be kept", "namespace", s.ns.name, "socket", s.id, "err", err)
	}
}
