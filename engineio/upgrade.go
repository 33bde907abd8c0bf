package engineio

import (
	"time"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/epoll"
)

// releaseInterval is how often a GET that waits is answered while the client probes a WebSocket; it
// switches only when it has no GET left.
const releaseInterval = 100 * time.Millisecond

// upgrade is a WebSocket on which the client of a polling session probes whether it works. Until the
// client sends an upgrade packet everything goes on over polling.
//
// Engine.IO protocol v4, "Upgrade".
type upgrade struct {
	session *Session
	conn    *epoll.Conn
	timeout wheel.Timer
	release wheel.Timer
}

// probe lets the client probe conn, or closes conn if the session cannot be upgraded now.
func (s *Session) probe(conn *epoll.Conn) {
	u := &upgrade{session: s, conn: conn}
	s.mu.Lock()
	p := s.polling
	ok := p != nil && p.upgrade == nil && !p.switching && s.flags.Load()&flagClosed == 0
	if ok {
		p.upgrade = u
	}
	s.mu.Unlock()
	if !ok {
		conn.Close(transport.CloseNone)
		return
	}
	s.hook(hookUpgrading)
	s.server.wheel.Schedule(&u.timeout, s.server.options.UpgradeTimeout, (*upgradeTimeout)(u))
	conn.Start(u)
}

// HandleMessage implements [transport.Handler].
func (u *upgrade) HandleMessage(c transport.Conn, data []byte, binary bool) (run bool) {
	p, err := packet.Parse(data)
	switch {
	case !binary && err == nil && p.Type == packet.Ping && string(p.Data) == "probe":
		_ = c.SendText("3probe") // a connection that has failed says so by HandleClose
		u.scheduleRelease()
	case !binary && err == nil && p.Type == packet.Upgrade && !p.Binary:
		u.complete()
	default:
		u.abandon()
	}
	return false
}

// Run implements [transport.Handler]. A probe has no work to do, but what is read together with the
// end of one belongs to the session.
func (u *upgrade) Run(transport.Conn) {}

// HandleDrain implements [transport.Handler].
func (u *upgrade) HandleDrain(transport.Conn) {}

// HandleClose implements [transport.Handler].
func (u *upgrade) HandleClose(transport.Conn, error) { u.abandon() }

// forget takes u off its session and reports whether it was its upgrade.
func (u *upgrade) forget(switching bool) bool {
	s := u.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.polling == nil || s.polling.upgrade != u {
		return false
	}
	s.polling.upgrade, s.polling.switching = nil, switching
	return true
}

// abandon leaves the session on polling. If u is not its upgrade any more, it has switched or ended, maybe while the
// timer was expiring, and who did that has dealt with the connection.
func (u *upgrade) abandon() {
	if u.forget(false) {
		u.stop()
		u.conn.Close(transport.CloseNone)
	}
}

func (u *upgrade) stop() {
	u.session.server.wheel.Stop(&u.timeout)
	u.session.server.wheel.Stop(&u.release)
}

// complete makes the connection the transport of the session.
func (u *upgrade) complete() {
	u.stop()
	if !u.forget(true) {
		u.conn.Close(transport.CloseNone)
		return
	}
	s := u.session
	p := s.polling // only this function changes it, and only once
	p.conn.Freeze()

	s.mu.Lock()
	flags := s.flags.Load()
	if flags&flagClosed != 0 {
		s.mu.Unlock()
		u.conn.Close(transport.CloseNone)
		return
	}
	// With mu held no message can be sent between those that were queued and the switch. If the
	// connection fails meanwhile, the session hears of it by HandleClose.
	if flags&flagCorked != 0 {
		u.conn.Cork()
	}
	p.conn.Detach(
		func(m *transport.Message) { _ = u.conn.Send(m) },
		func(t packet.Type) { _ = u.conn.SendText(text(t)) })
	s.conn = u.conn
	s.polling = nil
	s.flags.Or(flagWebSocket | flagUpgraded)
	if flags&flagPaused != 0 {
		u.conn.Pause()
	}
	s.mu.Unlock()

	u.conn.SetHandler((*webSocketHandler)(s))
	s.server.wheel.Stop(&p.timer)
	s.server.figures.upgraded.Add(1)
	s.hook(hookUpgrade)
	if flags&flagClosing != 0 {
		s.end(ForcedClose, nil, packet.Close)
		return
	}
	s.handler.HandleDrain()
}

// scheduleRelease has a GET that waits answered soon.
func (u *upgrade) scheduleRelease() {
	u.session.server.wheel.Schedule(&u.release, releaseInterval, (*upgradeRelease)(u))
}

// upgradeRelease is an upgrade when a GET that waits is to be answered.
type upgradeRelease upgrade

func (r *upgradeRelease) Expire() {
	u := (*upgrade)(r)
	s := u.session
	s.mu.Lock()
	p := s.polling
	active := p != nil && p.upgrade == u
	s.mu.Unlock()
	if active {
		p.conn.Release()
		u.scheduleRelease()
	}
}

// upgradeTimeout is an upgrade that has taken too long.
type upgradeTimeout upgrade

func (t *upgradeTimeout) Expire() { (*upgrade)(t).abandon() }
