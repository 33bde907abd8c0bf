package engineio

import (
	"context"
	"log/slog"
	"slices"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
)

// Close closes the session with ForcedClose after what is queued has been delivered. A polling client
// has to ask for it: if it does not do so within 30 seconds after the last queued packet, the session
// ends without. Messages that come meanwhile are dropped. Close does not wait; see State.
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

// Abort closes the session at once with ForcedClose. What is queued for a polling client is lost, and what is queued on
// a WebSocket if that is more than 64 KiB; the client is told if that needs no waiting.
func (s *Session) Abort() { s.end(ForcedClose, nil, packet.Close) }

// end ends the session unless it has ended. farewell answers a GET that waits.
func (s *Session) end(reason CloseReason, err error, farewell packet.Type) {
	s.mu.Lock()
	decided := s.decideLocked(reason, err)
	s.mu.Unlock()
	if decided {
		s.finish(farewell)
	}
}

// decideLocked ends the session for all who ask from now on. It reports whether it is to be finished: by the caller, and
// without the lock.
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

// finish does what follows from the end of the session. HandleClose is called in the end, or by leave.
func (s *Session) finish(farewell packet.Type) {
	if s.release(farewell) {
		s.tellClosed()
	}
}

// release gives up what an ended session holds. It reports whether the caller must call tellClosed. If not, leave does.
func (s *Session) release(farewell packet.Type) (tell bool) {
	late := false
	s.mu.Lock()
	p := s.polling // an upgrade does not complete any more
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

// maxFarewell is how many bytes may be queued on a WebSocket for the client of an aborted session to be sent a close
// frame behind them. With more, it does not read.
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

// enter reports whether messages may be handled. If so, leave has to be called afterwards.
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

// leave ends what enter began, and calls HandleClose if the session has ended in the meantime. If it is just being
// ended, finish calls HandleClose.
func (s *Session) leave() {
	if s.flags.And(^uint32(flagBusy))&flagLeft != 0 {
		s.tellClosed()
	}
}

// tellClosed is called once, when nothing else is being handled.
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

// closeErr returns the details of the reason, if there are any.
func (s *Session) closeErr() error {
	if e := s.extra.Load(); e != nil {
		return e.closeErr
	}
	return nil
}
