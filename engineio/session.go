package engineio

import (
	"sync"
	"sync/atomic"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport/epoll"
)

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
//	    │          └──Abort, transport, heartbeat, packets──▶│
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
	flagBusy                  // messages are being handled, or there is no handler yet
	flagClosing               // Close has been called; with polling, the client does not know yet
	flagClosed                // ended
	flagWebSocket             // conn carries the session
	flagUpgraded              // and polling did so before
	flagPaused                //
	flagCorked                //
	flagPinged                // v4: a ping has not been answered
	flagExtended              // v4: the time to answer it has been extended
	flagV3                    // protocol v3
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
