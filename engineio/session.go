package engineio

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/epoll"
)

// Handler is what the layer above offers to a session.
//
// HandleMessage and HandleClose are called one at a time, and HandleClose last. Run and HandleDrain
// may be called at any time, also at the same time as the others and as themselves, and a Run that
// has been asked for may come after HandleClose.
type Handler interface {
	// HandleMessage takes one message. data is valid until it returns; it is nil for a text message
	// without any data, and never nil for a binary message. It must not block. If it returns true,
	// Run is called after the messages that have already been received.
	HandleMessage(data []byte, binary bool) (run bool)

	// Run does the work that messages have given rise to. It may block for as long as it wants.
	Run()

	// HandleDrain is called when messages that had to wait have been handed to the client or, on a
	// WebSocket, to the kernel. It must not block.
	HandleDrain()

	// HandleClose is called exactly once. err has details of TransportError and ParseError. It must
	// not block.
	HandleClose(reason CloseReason, err error)
}

// State says how far a session has come.
type State uint8

const (
	StateOpen    State = iota // messages go both ways
	StateClosing              // what is queued is being delivered; messages of the client are dropped
	StateClosed               // it has ended
)

// Session is one Engine.IO connection, across transports. All methods are safe for concurrent use.
//
//	              ┌──────── Close, nothing to wait for ──────┐
//	opening ──▶ open ──Close──▶ closing ──all delivered──▶ closed
//	    │          └──Discard, transport, heartbeat, packets─▶│
//	    └──────────── also during OnSession ─────────────────▶┘
//
// Close leads to closing only with polling, where the client has to ask for what it is told.
// Beside that, a session that begins with polling may switch to WebSocket:
//
//	polling ──probe──▶ polling and upgrade ──"5"──▶ WebSocket
//	    ◀──anything else, time-out──┘
type Session struct {
	server  *Server
	request Request
	handler Handler     // set before flagOpened
	conn    *epoll.Conn // set before flagWebSocket
	extra   atomic.Pointer[extra]
	flags   atomic.Uint32
	timer   wheel.Timer // heartbeat

	mu      sync.Mutex
	polling *pollingState // until the session has switched to WebSocket
}

// Flags of a session. Those below are changed with mu held: closing, closed, webSocket, paused, corked.
const (
	flagOpened    = 1 << iota // has its handler
	flagBusy                  // HandleMessage is being called, or there is no handler yet
	flagClosing               // Close has been called; with polling, the client does not know yet
	flagClosed                // ended
	flagWebSocket             // conn carries the session
	flagUpgraded              // and polling did so before
	flagPaused                //
	flagCorked                //
	flagPinged                // v4: a ping has not been answered
	flagExtended              // v4: the time to answer it has been extended
	flagV3                    // protocol v3
	flagRun                   // polling: Run has been asked for by a packet of the present POST
	flagLeft                  // closed, and nothing is left to be done but to call HandleClose

	// reasonShift is where the index of the reason in reasons begins, which is set with flagClosed.
	reasonShift = 16
)

// ID returns the id of the session, which only its client and this server know.
func (s *Session) ID() string { return s.request.id() }

// Protocol returns the version of the Engine.IO protocol: 4 or 3.
func (s *Session) Protocol() int {
	if s.flags.Load()&flagV3 != 0 {
		return 3
	}
	return 4
}

// Transport returns the name of the transport that carries the session now, Polling or WebSocket.
func (s *Session) Transport() string {
	if s.flags.Load()&flagWebSocket != 0 {
		return WebSocket
	}
	return Polling
}

// Upgraded reports whether the session has switched from polling to WebSocket.
func (s *Session) Upgraded() bool { return s.flags.Load()&flagUpgraded != 0 }

// Upgrading reports whether the client is probing a WebSocket to switch to.
func (s *Session) Upgrading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polling != nil && s.polling.upgrade != nil
}

// Request returns the head of the request that opened the session, also after an upgrade.
func (s *Session) Request() *Request { return &s.request }

// State returns the state of the session. After Close it is StateClosed if that could be done at
// once, even if HandleClose is still to be called.
func (s *Session) State() State {
	switch f := s.flags.Load(); {
	case f&flagClosed != 0:
		return StateClosed
	case f&flagClosing != 0:
		return StateClosing
	default:
		return StateOpen
	}
}

// open makes the session known and gives it its handler. It reports false if its id is in use or the
// server closes.
func (s *Session) open() bool {
	if !s.server.sessions.add(s) {
		return false
	}
	s.server.figures.opened.Add(1)
	done := false
	defer func() {
		if !done { // OnSession has panicked
			s.end(ForcedClose, nil, packet.Close)
		}
	}()
	h := s.server.options.OnSession(s)
	if h == nil {
		panic("engineio: Options.OnSession returned nil")
	}
	done = true
	s.handler = h
	s.hook(hookOpen)
	s.startHeartbeat()
	s.flags.Or(flagOpened)
	s.leave()
	return true
}

// enter reports whether a message may be handled. If so, leave has to be called afterwards.
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
// ended, who does so calls HandleClose.
func (s *Session) leave() {
	if s.flags.And(^uint32(flagBusy))&flagLeft != 0 {
		s.tellClosed()
	}
}

// tellClosed is called once, when nothing else is being handled.
func (s *Session) tellClosed() {
	reason := reasons[s.flags.Load()>>reasonShift]
	var err error
	if e := s.extra.Load(); e != nil {
		err = e.closeErr
	}
	s.hookClose(reason, err)
	s.handler.HandleClose(reason, err)
	s.mu.Lock()
	p := s.polling
	s.mu.Unlock()
	if p != nil {
		p.conn.Forget()
	}
}

// SendBuffer returns the packets that a polling client has not fetched, for Hooks.Close and HandleClose; afterwards
// it is empty. What has been handed to a WebSocket counts as sent. The packets must not be changed. Node.js:
// socket.conn.writeBuffer.
func (s *Session) SendBuffer() []packet.Packet {
	s.mu.Lock()
	p := s.polling
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	var packets []packet.Packet
	for _, m := range p.conn.Unsent() {
		packets = append(packets, packetsOf(m)...)
	}
	return packets
}

// Send queues m for the client and returns without waiting. Messages arrive in the order of the calls,
// across an upgrade too. Unless m is shared it belongs to the caller again when Send returns. It returns
// ErrClosed if the session is closing or closed, and ErrSlowPeer, closing it, if too much would be queued.
//
// Engine.IO protocol v4, "Message".
func (s *Session) Send(m *transport.Message) error {
	if s.hooks() == nil {
		return s.send(m)
	}
	for _, p := range packetsOf(m) {
		s.hookCreate(p)
	}
	return s.observed(func() error { return s.send(m) })
}

func (s *Session) send(m *transport.Message) error {
	if s.flags.Load()&(flagWebSocket|flagClosing|flagClosed) == flagWebSocket {
		return sendError(s.conn.Send(m))
	}
	return s.sendSlow(func(c *epoll.Conn) error { return c.Send(m) }, func(p *pollingState) error { return p.conn.Send(m) })
}

// sendPacket sends a packet without data.
func (s *Session) sendPacket(t packet.Type) error {
	s.hookCreate(packet.Packet{Type: t})
	return s.observed(func() error {
		return s.sendSlow(
			func(c *epoll.Conn) error { return c.SendText(text(t)) },
			func(p *pollingState) error { return p.conn.SendPacket(t) })
	})
}

// text returns the packet of type t without data.
func text(t packet.Type) string {
	const digits = "0123456"
	i := t - packet.Open
	return digits[i : i+1]
}

// sendSlow sends on whichever transport carries the session, which cannot change meanwhile.
func (s *Session) sendSlow(onWebSocket func(*epoll.Conn) error, onPolling func(*pollingState) error) error {
	s.mu.Lock()
	var err error
	switch f := s.flags.Load(); {
	case f&(flagClosing|flagClosed) != 0:
		err = ErrClosed
	case f&flagWebSocket != 0:
		err = onWebSocket(s.conn)
	default:
		if err = onPolling(s.polling); err == transport.ErrSlowPeer {
			s.mu.Unlock()
			s.end(TransportError, err, packet.Close)
			return err
		}
	}
	s.mu.Unlock()
	return sendError(err)
}

// sendError wraps an error of a transport.
func sendError(err error) error {
	if errors.Is(err, transport.ErrClosed) {
		return ErrClosed
	}
	return err
}

// packetsOf returns the packets that m is sent as.
func packetsOf(m *transport.Message) []packet.Packet {
	var packets []packet.Packet
	if text, ok := m.Text(); ok {
		packets = append(packets, packet.Packet{Type: packet.Message, Data: text})
	}
	for _, b := range m.Binary() {
		packets = append(packets, packet.Packet{Type: packet.Message, Binary: true, Data: b})
	}
	return packets
}

// Writable reports whether a message could be sent without having to wait: with polling, whether a
// request of the client waits for one; with WebSocket, whether the kernel has taken all that was sent
// before. Where a goroutine writes to the kernel, up to 16 KiB may be on their way to it. Volatile messages are those that
// are sent only then.
func (s *Session) Writable() bool {
	if s.flags.Load()&(flagWebSocket|flagClosing|flagClosed) == flagWebSocket {
		return s.conn.Writable()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f := s.flags.Load(); {
	case f&(flagClosing|flagClosed) != 0:
		return false
	case f&flagWebSocket != 0:
		return s.conn.Writable()
	default:
		return s.polling.conn.Writable()
	}
}

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
// WebSocket is not read, and a POST not answered. A paused session is not closed for a missing pong,
// which may be among what is not read. Calls do not nest.
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

// Close closes the session with ForcedClose after what is queued has been delivered. A polling client
// has to ask for it: if it does not do so within 30 seconds after the last queued packet, the session
// ends without. Messages that come meanwhile are dropped. Close does not wait; see State.
func (s *Session) Close() {
	s.mu.Lock()
	f := s.flags.Load()
	if f&(flagClosing|flagClosed) != 0 {
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
	if !p.conn.Queued() {
		s.scheduleEnd(p)
	}
}

// Discard closes the session at once with ForcedClose; what is queued for a polling client is lost.
func (s *Session) Discard() { s.end(ForcedClose, nil, packet.Close) }

// end ends the session unless it has ended. farewell answers a GET that waits.
func (s *Session) end(reason CloseReason, err error, farewell packet.Type) {
	s.mu.Lock()
	if s.flags.Load()&flagClosed != 0 {
		s.mu.Unlock()
		return
	}
	why := slices.Index(reasons[:], reason)
	if err != nil {
		s.changeExtraLocked(func(e *extra) { e.closeErr = err })
	}
	flags := s.flags.Or(flagClosed | uint32(why)<<reasonShift)
	p := s.polling
	var u *upgrade
	if p != nil {
		u, p.upgrade = p.upgrade, nil
	}
	s.mu.Unlock()

	w := s.server.wheel
	w.Stop(&s.timer)
	s.server.sessions.remove(s)
	s.server.figures.closed[why].Add(1)
	if p != nil {
		w.Stop(&p.timer)
		p.conn.End(farewell)
		if u != nil {
			u.stop()
			u.conn.Close(transport.CloseNone)
		}
	}
	if flags&flagWebSocket != 0 {
		s.conn.Close(transport.CloseNone)
	}
	if log := s.server.options.Logger; log.Enabled(context.Background(), slog.LevelDebug) {
		log.LogAttrs(context.Background(), slog.LevelDebug, "session closed", slog.String("sid", s.ID()),
			slog.String("transport", s.Transport()), slog.String("reason", string(reason)), slog.Any("err", err))
	}
	if s.flags.Or(flagLeft)&flagBusy == 0 {
		s.tellClosed()
	}
}
