package socketio

import "time"

// SetLimits sets, before s serves, how long clients are corked and how long Close waits for responses to be written. By
// default that is less than a busy machine may keep a goroutine waiting.
func (s *Server) SetLimits(corkTime, closeGrace time.Duration) {
	s.corkTime = corkTime
	s.grace = closeGrace
}

// SetClosing makes s treat its clients as if Shutdown had just started.
func (s *Server) SetClosing() { s.closing.Store(true) }

// StopClock keeps the turn of each handler from ending before the handler returns.
func (s *Server) StopClock() { s.clock.state.Store(clockRead) }
