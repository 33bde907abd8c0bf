package engineio

import (
	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
)

// webSocketHandler is the transport.Handler of a session.
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
		return false // the reference ignores v3 frames without a valid type
	case err != nil:
		s.end(ParseError, err, packet.Close)
		return false
	case p.Type == packet.Close:
		s.hookPacket(p)
		return false // a WebSocket is closed with a close frame
	}
	run, _ = s.receive(p)
	return run
}

// parse parses a WebSocket message.
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

// receive handles a packet of either transport. more is false if the packet or the server has ended the session. If it
// has ended for another reason, earlier packets of the client are still handled.
func (s *Session) receive(p packet.Packet) (run, more bool) {
	s.hookPacket(p)
	flags := s.flags.Load()
	switch {
	case flags&flagClosed != 0 && s.reason() == ForcedClose:
		return false, false
	case flags&flagClosing != 0 && p.Type != packet.Close:
		return false, true
	case flags&(flagPinged|flagExtended) == flagPinged && p.Type != packet.Pong:
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
	default: // open, upgrade and noop have no meaning here
		return false, true
	}
}
