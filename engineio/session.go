package engineio

import (
	"sync"
	"sync/atomic"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport/epoll"
)

// State is the state of a Session.
type State uint8

const (
	StateOpen    State = iota // messages go both ways
	StateClosing              // queued messages are being delivered; messages of the client are dropped
	StateClosed               // it has ended
)

// Session is one Engine.IO connection, across transports. All methods are safe for concurrent use.
//
//	              ┌──────── Close, nothing to wait for ──────┐
//	opening ──▶ open ──Close──▶ closing ──all delivered──▶ closed
//	    │          └──Abort, transport, heartbeat, packets──▶│
//	    └──────────── also during OnSession ─────────────────▶┘
//
// Close leads to closing only with polling, where queued messages wait for the client's next poll. A session that begins
// with polling may switch to WebSocket:
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

// Flags of a session. closing, closed, webSocket, paused and corked are changed with mu held.
const (
	flagOpened    = 1 << iota // has its handler
	flagBusy                  // messages are being handled, or there is no handler yet
	flagClosing               // Close has been called; a polling client has not been told yet
	flagClosed                // ended
	flagWebSocket             // conn carries the session
	flagUpgraded              // polling carried it before
	flagPaused                //
	flagCorked                //
	flagPinged                // v4: a ping has not been answered
	flagExtended              // v4: the time to answer it has been extended
	flagV3                    // protocol v3
	flagLeft                  // closed; only the call of HandleClose is left

	// reasonShift is the position of the index of the reason in reasons, which is set with flagClosed.
	reasonShift = 16
)

// ID returns the session id. It is a secret between the client and the server.
func (s *Session) ID() string { return s.request.id() }

// Protocol returns the version of the Engine.IO protocol: 4 or 3.
func (s *Session) Protocol() int {
	if s.flags.Load()&flagV3 != 0 {
		return 3
	}
	return 4
}

// Transport returns the current transport, Polling or WebSocket.
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

// Request returns the head of the request that opened the session. An upgrade does not change it.
func (s *Session) Request() *Request { return &s.request }

// State returns the state of the session. It is StateClosed as soon as the end has been decided; HandleClose may be
// called later.
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

// open registers the session and gets its handler. It returns false if the id is in use or the server is closing.
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
