package engineio

// Cork holds messages back until Uncork or the end of the session, so that they reach the client together. Calls do not
// nest. A corked session is not writable.
func (s *Session) Cork() { s.setCorked(true) }

// Uncork undoes Cork.
func (s *Session) Uncork() { s.setCorked(false) }

func (s *Session) setCorked(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setFlagLocked(flagCorked, yes)
	switch conn := s.carrierLocked(); {
	case conn == nil:
	case yes:
		conn.Cork()
	default:
		conn.Uncork()
	}
}

// Pause stops receiving until Resume: a WebSocket is not read, and a POST is not answered. Messages that have already
// been received are still handled. Calls do not nest.
//
// A paused session notices when its client leaves: the remaining messages are handled, then the session ends. A missing
// pong does not end it, because the pong may be unread, as long as the client is alive: the host of a WebSocket client
// acknowledges data, and a polling client polls.
func (s *Session) Pause() { s.setPaused(true) }

// Resume undoes Pause.
func (s *Session) Resume() { s.setPaused(false) }

func (s *Session) setPaused(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setFlagLocked(flagPaused, yes)
	switch conn := s.carrierLocked(); {
	case conn == nil:
	case yes:
		conn.Pause()
	default:
		conn.Resume()
	}
}

func (s *Session) setFlagLocked(flag uint32, yes bool) {
	if yes {
		s.flags.Or(flag)
	} else {
		s.flags.And(^flag)
	}
}

// carrierLocked returns the connection that carries the session, or nil if the session has ended.
func (s *Session) carrierLocked() interface {
	Cork()
	Uncork()
	Pause()
	Resume()
} {
	switch f := s.flags.Load(); {
	case f&flagClosed != 0:
		return nil
	case f&flagWebSocket != 0:
		return s.conn
	default:
		return s.polling.conn
	}
}
