package engineio

import (
	"context"
	"log/slog"
	"slices"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
)

// Close closes the session with ForcedClose after delivering the queued messages. It does not wait; see State. Messages
// of the client are dropped meanwhile. If a polling client does not fetch the close packet within 30 seconds after the
// last queued message, the session ends without it.
func (s *Session) Close() {
	s.mu.Lock()
	if s.flags.Load()&(flagClosing|flagClosed) != 0 {
		s.mu.Unlock()
		return
	}
	p := s.polling
	s.flags.Or(flagClosing)
	s.mu.Unlock()
	if p == nil || p.conn.Close() {
		s.end(ForcedClose, nil, packet.Close)
		return
	}
	if p.conn.Queued() == 0 {
		s.scheduleEnd(p)
	}
}

// Abort closes the session immediately with ForcedClose. Messages queued for a polling client are lost, and so are more
// than 64 KiB queued on a WebSocket. The client is notified if that requires no waiting.
func (s *Session) Abort() { s.end(ForcedClose, nil, packet.Close) }

// end ends the session unless it has ended. A waiting GET is answered with farewell.
func (s *Session) end(reason CloseReason, err error, farewell packet.Type) {
	s.mu.Lock()
	decided := s.decideLocked(reason, err)
	s.mu.Unlock()
	if decided {
		s.finish(farewell)
	}
}

// decideLocked marks the session as closed. If it returns true, the caller must call finish without the lock.
func (s *Session) decideLocked(reason CloseReason, err error) bool {
	if s.flags.Load()&flagClosed != 0 {
		return false
	}
	if err != nil {
		s.changeExtraLocked(func(e *extra) { e.closeErr = err })
	}
	s.flags.Or(flagClosed | uint32(slices.Index(reasons[:], reason))<<reasonShift)
	return true
}

// reason returns why the session has ended.
func (s *Session) reason() CloseReason { return reasons[s.flags.Load()>>reasonShift] }

// finish releases the resources of a closed session and calls HandleClose, unless leave will.
func (s *Session) finish(farewell packet.Type) {
	if s.release(farewell) {
		s.tellClosed()
	}
}

// release releases the resources of a closed session. It reports whether the caller must call tellClosed; otherwise
// leave does.
func (s *Session) release(farewell packet.Type) (tell bool) {
	late := false
	s.mu.Lock()
	p := s.polling // an upgrade can no longer complete
	s.mu.Unlock()
	s.server.wheel.Stop(&s.timer)
	if p == nil {
		s.closeConn()
	} else {
		s.server.wheel.Stop(&p.timer)
		unsent, l := p.conn.Abort(farewell)
		late = l
		s.mu.Lock()
		p.unsent = unsent
		u := p.takeUpgradeLocked()
		s.mu.Unlock()
		if u != nil {
			u.drop()
		}
	}
	if !late { // or servePolling does so
		s.server.sessions.remove(s)
	}
	s.server.sessions.count.Done()
	s.server.figures.closed[s.flags.Load()>>reasonShift].Add(1)
	if log := s.server.options.Logger; log.Enabled(context.Background(), slog.LevelDebug) {
		log.LogAttrs(context.Background(), slog.LevelDebug, "session closed", slog.String("sid", s.ID()),
			slog.String("transport", s.Transport()), slog.String("reason", string(s.reason())), slog.Any("err", s.closeErr()))
	}
	idle := s.flags.Or(flagLeft)&flagBusy == 0
	if late && s.finished() { // the POST has been answered meanwhile
		s.server.sessions.remove(s)
	}
	return idle
}

// maxFarewell is the number of queued bytes up to which an aborted session still sends a close frame on its WebSocket. A
// client with more queued bytes does not read.
const maxFarewell = 64 << 10

// closeConn closes the WebSocket that carries the session.
func (s *Session) closeConn() {
	aborted := s.flags.Load()&flagClosing == 0 && s.reason() == ForcedClose
	if (aborted || s.reason() == PingTimeout) && s.conn.Queued() > maxFarewell {
		s.conn.Abort()
	} else {
		s.conn.Close(transport.CloseNone)
	}
}

// enter reports whether messages may be handled. If so, the caller must call leave afterwards.
func (s *Session) enter() bool {
	for {
		f := s.flags.Load()
		if f&flagClosed != 0 {
			return false
		}
		if s.flags.CompareAndSwap(f, f|flagBusy) {
			return true
		}
	}
}

// leave undoes enter. It calls HandleClose if the session has ended meanwhile. If finish is still running, finish calls
// HandleClose.
func (s *Session) leave() {
	if s.flags.And(^uint32(flagBusy))&flagLeft != 0 {
		s.tellClosed()
	}
}

// tellClosed calls HandleClose. It is called once, when no message is being handled.
func (s *Session) tellClosed() {
	reason, err := s.reason(), s.closeErr()
	s.hookClose(reason, err)
	s.handler.HandleClose(reason, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.polling != nil {
		s.polling.unsent = nil
	}
}

// closeErr returns the details of the reason, or nil.
func (s *Session) closeErr() error {
	if e := s.extra.Load(); e != nil {
		return e.closeErr
	}
	return nil
}
