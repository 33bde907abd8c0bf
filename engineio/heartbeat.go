package engineio

import (
	"time"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
)

// closeTimeout is the time in which the client of a closing session must fetch the close packet.
const closeTimeout = 30 * time.Second

// heartbeat is the timer task of a session.
//
// In v4 the server sends a ping PingInterval after the opening or the last pong, and the client must answer it within
// PingTimeout. Another packet restarts that time once per ping. In v3 the client sends pings, at most
// PingInterval+PingTimeout apart.
//
// The answer may have arrived unread, because the session is paused or the loop is busy. The next interval then begins
// if the client is alive.
//
// Engine.IO protocol v4 and v3, "Heartbeat".
type heartbeat Session

func (h *heartbeat) Expire() {
	s := (*Session)(h)
	flags := s.flags.Load()
	switch {
	case flags&flagClosed != 0:
	case flags&(flagPinged|flagV3) == 0:
		s.flags.And(^uint32(flagExtended))
		s.flags.Or(flagPinged)
		s.scheduleBy(s.server.wheel.Continue, &s.timer, s.server.options.PingTimeout, h)
		// A closing session is sent nothing, but must be alive nevertheless.
		_ = s.sendPacket(packet.Ping)
	case s.unread() && s.alive():
		s.startHeartbeat()
	default:
		s.end(PingTimeout, nil, packet.Close)
	}
}

// unread reports whether there may be unread bytes of the client.
func (s *Session) unread() bool {
	flags := s.flags.Load()
	return flags&flagPaused != 0 || flags&flagWebSocket != 0 && s.conn.Unread()
}

// alive reports whether the client shows other signs of life than packets.
func (s *Session) alive() bool {
	within := s.server.options.PingInterval + s.server.options.PingTimeout
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.polling; p != nil {
		return p.conn.Alive(within)
	}
	return s.conn.Alive(within)
}

func (s *Session) schedule(d time.Duration) {
	s.scheduleBy(s.server.wheel.Schedule, &s.timer, d, (*heartbeat)(s))
}

// scheduleBy schedules a timer. It stops the timer if the session has ended meanwhile, because the timer would keep it in
// memory.
func (s *Session) scheduleBy(schedule func(*wheel.Timer, time.Duration, wheel.Task), t *wheel.Timer, d time.Duration, task wheel.Task) {
	schedule(t, d, task)
	if s.flags.Load()&flagClosed != 0 {
		s.server.wheel.Stop(t)
	}
}

// startHeartbeat begins an interval.
func (s *Session) startHeartbeat() {
	s.flags.And(^uint32(flagPinged | flagExtended))
	d := s.server.options.PingInterval
	if s.flags.Load()&flagV3 != 0 {
		d += s.server.options.PingTimeout
	}
	s.schedule(d)
}

// extend gives the client more time to answer a ping, once.
func (s *Session) extend() {
	if s.flags.Or(flagExtended)&flagExtended == 0 {
		s.schedule(s.server.options.PingTimeout)
	}
}

// receiveHeartbeat handles a ping or pong. It returns false, and ends the session, if the client must not send it.
func (s *Session) receiveHeartbeat(t packet.Type) bool {
	v3 := s.flags.Load()&flagV3 != 0
	if v3 != (t == packet.Ping) {
		s.end(TransportError, errHeartbeat, packet.Close)
		return false
	}
	s.startHeartbeat()
	if v3 {
		_ = s.sendPacket(packet.Pong) // after an error the session ends anyway
	}
	s.hook(hookHeartbeat)
	return true
}

// scheduleEnd bounds the time that a closing session waits for its client.
func (s *Session) scheduleEnd(p *pollingState) {
	s.scheduleBy(s.server.wheel.Schedule, &p.timer, closeTimeout, (*closing)(s))
}

// closing is the timer task that ends a closing session.
type closing Session

func (c *closing) Expire() { (*Session)(c).end(ForcedClose, nil, packet.Close) }
