package engineio

import (
	"time"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
)

// closeTimeout is how long a closing session waits for a client to ask for the close packet.
const closeTimeout = 30 * time.Second

// heartbeat is a session when its timer expires.
//
// In v4 the server sends a ping PingInterval after it was opened or had the last pong, and the client
// has PingTimeout to answer it; once for each ping that time begins anew when another packet comes. In
// v3 the client sends the pings, PingInterval+PingTimeout apart at most.
//
// The answer may have come without having been read: the session is paused, or the loop that reads is busy. Then the
// next interval begins if the client is there.
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
		// A session that is closing is not sent anything, but has to be alive all the same.
		_ = s.sendPacket(packet.Ping)
	case s.unread() && s.alive():
		s.startHeartbeat()
	default:
		s.end(PingTimeout, nil, packet.Close)
	}
}

// unread reports whether the client may have sent something that has not been read.
func (s *Session) unread() bool {
	flags := s.flags.Load()
	return flags&flagPaused != 0 || flags&flagWebSocket != 0 && s.conn.Unread()
}

// alive reports whether the client is there, whatever it sends.
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

// scheduleBy schedules a timer that end stops, unless the session has ended meanwhile: the timer would keep it.
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

// receiveHeartbeat deals with a ping or pong. It returns false if the session has ended because it is
// not the client's part to send that.
func (s *Session) receiveHeartbeat(t packet.Type) bool {
	v3 := s.flags.Load()&flagV3 != 0
	if v3 != (t == packet.Ping) {
		s.end(TransportError, errHeartbeat, packet.Close)
		return false
	}
	s.startHeartbeat()
	if v3 {
		_ = s.sendPacket(packet.Pong) // if that is not possible the session ends anyway
	}
	s.hook(hookHeartbeat)
	return true
}

// scheduleEnd limits the time that a closing session waits for its client.
func (s *Session) scheduleEnd(p *pollingState) {
	s.scheduleBy(s.server.wheel.Schedule, &p.timer, closeTimeout, (*closing)(s))
}

// closing is a session when it has waited long enough for its client.
type closing Session

func (c *closing) Expire() { (*Session)(c).end(ForcedClose, nil, packet.Close) }
