package socketio

import (
	"context"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/internal/jsontext"
)

// Recovers reports whether clients that lose their connection can resume their session: that is on, and the adapter
// is able to.
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

// restore resumes the session with this secret, if there is one. The packets that the client has missed are
// sent first. If middleware is to be skipped, s is opened in the same step, so that no packet falls between, and
// restore reports that there is nothing more to do than to run the client's queue, which calls the handlers. Otherwise
// it returns the rooms to be joined.
func (s *Socket) restore(pid, offset string, hasMiddleware bool) (rooms []string, opened bool) {
	if pid == "" {
		return nil, false
	}
	err := s.ns.adapter.RestoreSession(context.Background(), pid, offset, func(r *adapter.Restored) {
		if s.status.state() != statePending {
			return
		}
		x := s.more()
		s.id = r.ID
		x.pid, x.recovered = r.PID, true
		x.mu.Lock()
		x.data = r.Data
		x.mu.Unlock()
		for _, p := range r.Missed {
			_ = s.write(p, false)
		}
		rooms = r.Rooms
		if opened = !hasMiddleware || !s.ns.server.opts.Recovery.RunMiddleware; opened {
			// Whatever the client sends when it hears of its connection is queued behind the handlers for that.
			open := make(chan bool, 1)
			s.client.queue.push(func() {
				if <-open {
					s.connected()
				}
			})
			defer close(open)
			open <- s.open(rooms)
		}
	})
	if err != nil {
		// Adapters tell the operator at a bounded rate.
		s.ns.server.opts.Logger.Debug("session cannot be restored", "namespace", s.ns.name, "err", err)
	}
	return rooms, opened
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
