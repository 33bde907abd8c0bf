package engineio

import (
	"context"
	"time"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/epoll"
)

// releaseInterval is the time between answers to a waiting GET while the client probes a WebSocket. The client switches
// only when it has no GET in progress.
const releaseInterval = 100 * time.Millisecond

// probeText is the data of the ping and the pong of a probe.
const probeText = "probe"

// upgrade is a WebSocket that the client of a polling session is probing. Until the client sends an upgrade packet, the
// session continues to use polling.
//
//	connected ──ping──▶ probed ──upgrade packet──▶ switching ──▶ done, on WebSocket
//	    └─anything else─────┴─anything else, time-out──▶ done, on polling
//
// Engine.IO protocol v4, "Upgrade".
type upgrade struct {
	session *Session
	conn    *epoll.Conn
	timeout wheel.Timer
	release wheel.Timer
	done    chan struct{} // closed when the session has switched, or will not

	// Guarded by Session.mu.
	probed    bool
	switching bool
}

// probe starts an upgrade to conn, or closes conn if the session cannot be upgraded now.
func (s *Session) probe(conn *epoll.Conn) {
	u := &upgrade{session: s, conn: conn, done: make(chan struct{})}
	s.mu.Lock()
	p := s.polling
	ok := p != nil && p.upgrade == nil && s.flags.Load()&flagClosed == 0
	if ok {
		p.upgrade = u
		s.server.wheel.Schedule(&u.timeout, s.server.options.UpgradeTimeout, (*upgradeTimeout)(u))
	}
	s.mu.Unlock()
	if !ok {
		conn.Close(transport.CloseNone)
		return
	}
	conn.Start(u)
}

// HandleMessage implements [transport.Handler].
func (u *upgrade) HandleMessage(c transport.Conn, data []byte, binary bool) (run bool) {
	p, err := packet.Parse(data)
	switch {
	case !binary && err == nil && p.Type == packet.Ping && string(p.Data) == probeText:
		u.answer()
	case !binary && err == nil && p.Type == packet.Upgrade && !p.Binary:
		u.complete()
	default:
		u.abandon()
	}
	return false
}

// Run implements [transport.Handler]. Messages read together with the upgrade packet belong to the session.
func (u *upgrade) Run(transport.Conn) {}

// HandleDrain implements [transport.Handler].
func (u *upgrade) HandleDrain(transport.Conn) {}

// HandleClose implements [transport.Handler].
func (u *upgrade) HandleClose(transport.Conn, error) { u.abandon() }

// answer answers a probe. The client then stops polling.
func (u *upgrade) answer() {
	s := u.session
	s.mu.Lock()
	u.probed = true
	s.mu.Unlock()
	_ = u.conn.SendText(packet.Pong.Text() + probeText) // HandleClose follows if the connection has failed
	u.scheduleRelease()
	s.hook(hookUpgrading)
}

// takeUpgradeLocked detaches the upgrade from the session and returns it. It returns nil if there is none or if it is
// being completed.
func (p *pollingState) takeUpgradeLocked() *upgrade {
	u := p.upgrade
	if u == nil || u.switching {
		return nil
	}
	p.upgrade = nil
	return u
}

// abandon ends the upgrade; the session stays on polling. It does nothing if u is no longer the session's upgrade: the
// session has switched or ended, which also took care of the connection.
func (u *upgrade) abandon() {
	s := u.session
	s.mu.Lock()
	ours := u.activeLocked() && s.polling.takeUpgradeLocked() != nil
	s.mu.Unlock()
	if ours {
		u.drop()
	}
}

// drop closes the connection of a detached upgrade.
func (u *upgrade) drop() {
	u.stop()
	u.conn.Close(transport.CloseNone)
	close(u.done)
}

func (u *upgrade) stop() {
	u.session.server.wheel.Stop(&u.timeout)
	u.session.server.wheel.Stop(&u.release)
}

// complete makes the connection the transport of the session.
func (u *upgrade) complete() {
	s := u.session
	s.mu.Lock()
	p, ours := s.polling, u.activeLocked()
	u.switching = ours
	s.mu.Unlock()
	if !ours {
		return // it is being closed
	}
	frozen := p.conn.Freeze()

	s.mu.Lock()
	flags := s.flags.Load()
	if !frozen || flags&flagClosed != 0 {
		p.upgrade = nil
		s.mu.Unlock()
		u.drop()
		return
	}
	// Holding mu keeps new messages behind the queued ones. If the connection fails meanwhile, HandleClose ends the
	// session.
	if flags&flagCorked != 0 {
		u.conn.Cork()
	}
	unsent, _ := p.conn.Abort(packet.Close)
	for _, i := range unsent {
		if i.Message != nil {
			_ = u.conn.Send(i.Message)
		} else {
			_ = u.conn.SendText(i.Type.Text())
		}
	}
	s.conn = u.conn
	s.polling = nil
	s.flags.Or(flagWebSocket | flagUpgraded)
	if flags&flagPaused != 0 {
		u.conn.Pause()
	}
	s.mu.Unlock()

	u.stop()
	s.server.wheel.Stop(&p.timer)
	u.conn.SetHandler((*webSocketHandler)(s))
	close(u.done)
	s.server.figures.upgraded.Add(1)
	s.hook(hookUpgrade)
	if flags&flagClosing != 0 {
		s.end(ForcedClose, nil, packet.Close)
		return
	}
	s.handler.HandleDrain()
}

// settleTime bounds the wait of a request for the client's upgrade packet. It is shorter than releaseInterval, so it does
// not cause another release.
const settleTime = 80 * time.Millisecond

// settleUpgrade delays a request that arrives after the answer to a probe while bytes on the WebSocket are unread.
// Clients usually send no more requests then. If the client sent the upgrade packet before the request, the upgrade is
// complete when settleUpgrade returns.
func (s *Session) settleUpgrade(ctx context.Context) {
	s.mu.Lock()
	var u *upgrade
	if p := s.polling; p != nil && p.upgrade != nil && p.upgrade.probed {
		u = p.upgrade
	}
	s.mu.Unlock()
	if u == nil {
		return
	}
	moment := time.NewTimer(settleTime)
	defer moment.Stop()
	for {
		select {
		case <-u.done:
			return
		case <-ctx.Done():
			return
		case <-moment.C:
		}
		if !u.conn.Unread() {
			return
		}
		moment.Reset(settleTime)
	}
}

// activeLocked reports whether the session is being upgraded by u. Only then may timers be scheduled: whoever detaches u
// stops them afterwards.
func (u *upgrade) activeLocked() bool {
	p := u.session.polling
	return p != nil && p.upgrade == u
}

// scheduleRelease schedules the answer to a waiting GET.
func (u *upgrade) scheduleRelease() {
	s := u.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.activeLocked() {
		s.server.wheel.Schedule(&u.release, releaseInterval, (*upgradeRelease)(u))
	}
}

// upgradeRelease is the timer task that answers a waiting GET.
type upgradeRelease upgrade

func (r *upgradeRelease) Expire() {
	u := (*upgrade)(r)
	s := u.session
	s.mu.Lock()
	p, active := s.polling, u.activeLocked()
	s.mu.Unlock()
	if active {
		p.conn.Release()
		u.scheduleRelease()
	}
}

// upgradeTimeout is the timer task that abandons an upgrade.
type upgradeTimeout upgrade

func (t *upgradeTimeout) Expire() { (*upgrade)(t).abandon() }
