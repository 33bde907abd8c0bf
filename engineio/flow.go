package engineio

// Cork has what is sent wait until Uncork, or until the session closes, so that it reaches the client in one
// piece. Calls do not nest. Meanwhile the session is not writable.
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

// Pause stops taking messages from the client after those that have been received, until Resume: a
// WebSocket is not read, and a POST not answered. Calls do not nest.
//
// A paused session notices that its client leaves: what the client sent before is handled, then the session ends. It is not
// closed for a missing pong, which may be among what is not read, as long as the client is there: as long as its
// host takes what is sent on a WebSocket, or it polls.
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

// carrierLocked returns what carries the session, or nil if it has ended.
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
