package engineio

import (
	"runtime/debug"

	"github.com/myriad-rt/myriad/engineio/packet"
)

// Hooks observe sessions, for logs, metrics and tests. Each field may be nil. The functions are called concurrently from
// the goroutines that serve sessions, and must not block. The data of a packet is valid until they return and must not
// be changed. A panic is logged and closes the session.
//
// Node.js: the events of a session with the same names.
type Hooks struct {
	Open         func(s *Session)                                // the session has its handler
	Close        func(s *Session, reason CloseReason, err error) // called before Handler.HandleClose
	Packet       func(s *Session, p packet.Packet)               // a packet has been received
	PacketCreate func(s *Session, p packet.Packet)               // a packet is about to be sent or queued
	Flush        func(s *Session)                                // packets are about to be sent to the client or the kernel
	Drain        func(s *Session)                                // the queued packets have been sent
	Heartbeat    func(s *Session)                                // a pong (v4) or ping (v3) has been received
	Upgrading    func(s *Session)                                // the client probes another transport
	Upgrade      func(s *Session)                                // the session has switched to it
}

// extra holds state that few sessions need.
type extra struct {
	hooks    *Hooks
	value    any
	closeErr error // set before flagClosed
}

// changeExtraLocked lets f change a copy of the extra state, and stores it.
func (s *Session) changeExtraLocked(f func(*extra)) {
	e := new(extra)
	if old := s.extra.Load(); old != nil {
		*e = *old
	}
	f(e)
	s.extra.Store(e)
}

// SetHooks makes h observe the session instead of Options.Hooks. It may be called at any time.
func (s *Session) SetHooks(h *Hooks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changeExtraLocked(func(e *extra) { e.hooks = h })
}

// Value returns the result of Options.Value for the request that opened the session, or nil.
func (s *Session) Value() any {
	if e := s.extra.Load(); e != nil {
		return e.value
	}
	return nil
}

// hooks returns the hooks of the session, or nil.
func (s *Session) hooks() *Hooks {
	if e := s.extra.Load(); e != nil && e.hooks != nil {
		return e.hooks
	}
	return s.server.options.Hooks
}

func (s *Session) hookPacket(p packet.Packet) {
	if h := s.hooks(); h != nil && h.Packet != nil {
		defer s.recovered()
		h.Packet(s, p)
	}
}

func (s *Session) hookCreate(p packet.Packet) {
	if h := s.hooks(); h != nil && h.PacketCreate != nil {
		defer s.recovered()
		h.PacketCreate(s, p)
	}
}

// observed calls send between the Flush and Drain hooks. Packets queued for a polling client are flushed when it polls.
// Packets that a WebSocket cannot take immediately are drained later.
func (s *Session) observed(send func() error) error {
	h := s.hooks()
	if h == nil || h.Flush == nil && h.Drain == nil {
		return send()
	}
	flushes := s.Writable() || s.Transport() == WebSocket
	if flushes {
		s.hook(hookFlush)
	}
	err := send()
	if flushes && (s.Transport() == Polling || s.conn.Queued() == 0) {
		s.hook(hookDrain)
	}
	return err
}

// hook calls the function selected by of, if any.
func (s *Session) hook(of func(*Hooks) func(*Session)) {
	if h := s.hooks(); h != nil {
		if f := of(h); f != nil {
			defer s.recovered()
			f(s)
		}
	}
}

func (s *Session) hookClose(reason CloseReason, err error) {
	if h := s.hooks(); h != nil && h.Close != nil {
		defer s.recovered()
		h.Close(s, reason, err)
	}
}

// recovered is deferred around hooks, because the goroutines that call them also serve other sessions.
func (s *Session) recovered() {
	if p := recover(); p != nil {
		s.server.options.Logger.Error("hook panicked", "sid", s.ID(), "panic", p, "stack", string(debug.Stack()))
		go s.Abort() // the caller may hold locks
	}
}

func hookOpen(h *Hooks) func(*Session)      { return h.Open }
func hookFlush(h *Hooks) func(*Session)     { return h.Flush }
func hookDrain(h *Hooks) func(*Session)     { return h.Drain }
func hookHeartbeat(h *Hooks) func(*Session) { return h.Heartbeat }
func hookUpgrading(h *Hooks) func(*Session) { return h.Upgrading }
func hookUpgrade(h *Hooks) func(*Session)   { return h.Upgrade }
