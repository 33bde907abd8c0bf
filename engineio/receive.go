package engineio

import (
	"net/http"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/wheel"
	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/polling"
)

// webSocketHandler is a session as its WebSocket sees it.
type webSocketHandler Session

func (h *webSocketHandler) HandleMessage(_ transport.Conn, data []byte, binary bool) (run bool) {
	s := (*Session)(h)
	if !s.enter() {
		return false
	}
	defer s.leave()
	p, err := s.parse(data, binary)
	switch {
	case err != nil && binary:
		return false // the reference takes no notice of v3 frames without a valid type
	case err != nil:
		s.end(ParseError, err, packet.Close)
		return false
	case p.Type == packet.Close:
		s.hookPacket(p)
		return false // a WebSocket is closed by its own means
	}
	run, _ = s.receive(p)
	return run
}

// parse takes a WebSocket message apart.
func (s *Session) parse(data []byte, binary bool) (packet.Packet, error) {
	v3 := s.flags.Load()&flagV3 != 0
	switch {
	case binary && v3:
		return packet.ParseBinaryV3(data)
	case binary:
		if data == nil {
			data = []byte{}
		}
		return packet.Packet{Type: packet.Message, Binary: true, Data: data}, nil
	case v3:
		return packet.ParseV3(data)
	default:
		return packet.Parse(data)
	}
}

func (h *webSocketHandler) Run(transport.Conn) { h.handler.Run() }

func (h *webSocketHandler) HandleDrain(transport.Conn) {
	s := (*Session)(h)
	s.hook(hookDrain)
	s.handler.HandleDrain()
}

func (h *webSocketHandler) HandleClose(_ transport.Conn, err error) {
	reason := TransportClose
	if err != nil {
		reason = TransportError
	}
	(*Session)(h).end(reason, err, packet.Close)
}

// receive deals with a packet of either transport. more is false if the session has ended by it.
func (s *Session) receive(p packet.Packet) (run, more bool) {
	s.hookPacket(p)
	flags := s.flags.Load()
	if flags&flagClosing != 0 && p.Type != packet.Close {
		return false, true
	}
	if flags&(flagPinged|flagExtended) == flagPinged && p.Type != packet.Pong {
		s.extend()
	}
	switch p.Type {
	case packet.Message:
		return s.handler.HandleMessage(p.Data, p.Binary), true
	case packet.Ping, packet.Pong:
		return false, s.receiveHeartbeat(p.Type)
	case packet.Close:
		s.end(TransportClose, nil, packet.Noop)
		return false, false
	default: // open, upgrade and noop mean nothing here
		return false, true
	}
}

// pollingState is what only a session on polling has.
type pollingState struct {
	conn  *polling.Conn
	timer wheel.Timer // ends a closing session

	// Guarded by Session.mu.
	upgrade   *upgrade
	switching bool // the upgrade is being completed
}

// pollingHandler is a session as its polling transport sees it.
type pollingHandler Session

func (h *pollingHandler) HandlePacket(p packet.Packet) (more bool) {
	s := (*Session)(h)
	if !s.enter() {
		return false
	}
	defer s.leave()
	run, more := s.receive(p)
	if run {
		s.flags.Or(flagRun)
	}
	return more
}

func (h *pollingHandler) HandlePosted(err error) {
	s := (*Session)(h)
	if err != nil {
		s.end(ParseError, err, packet.Close)
	}
	if s.flags.And(^uint32(flagRun))&flagRun != 0 {
		go s.handler.Run()
	}
}

func (h *pollingHandler) HandleDrain() {
	s := (*Session)(h)
	if s.flags.Load()&flagClosing == 0 {
		s.hook(hookFlush)
		s.hook(hookDrain)
		s.handler.HandleDrain()
		return
	}
	s.mu.Lock()
	p := s.polling
	s.mu.Unlock()
	if p != nil {
		s.scheduleEnd(p)
	}
}

func (h *pollingHandler) HandleError(err error) { (*Session)(h).end(TransportError, err, packet.Close) }

func (h *pollingHandler) HandlePanic(panicked any, stack []byte) {
	s := (*Session)(h)
	s.server.options.Logger.Error("function for headers panicked", "sid", s.ID(), "panic", panicked, "stack", string(stack))
	s.Discard()
}

func (h *pollingHandler) HandleEnd() { (*Session)(h).end(ForcedClose, nil, packet.Close) }

// servePolling serves a GET or POST of the session. It returns false, having written nothing, if
// polling does not carry the session any more.
func (s *Session) servePolling(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	p := s.polling
	s.mu.Unlock()
	return p != nil && p.conn.Serve(w, r) == nil
}
