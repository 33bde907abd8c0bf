package engineio

import (
	"errors"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/epoll"
)

// Send queues m for the client and returns without waiting. Messages arrive in the order of the calls, also across an
// upgrade. Send does not keep m unless it is shared. It returns ErrClosed if the session is closing or closed. If the
// queue would exceed its limit, Send closes the session and returns ErrSlowPeer.
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

// SendText sends a text message; see Send.
func (s *Session) SendText(text string) error {
	m := transport.NewMessage()
	defer m.Release()
	m.SetText(append(m.Buffer(), text...))
	return s.Send(m)
}

// SendBinary sends a binary message; see Send. It does not keep data.
func (s *Session) SendBinary(data []byte) error {
	m := transport.NewMessage()
	defer m.Release()
	m.SetBinary(data)
	return s.Send(m)
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
			func(c *epoll.Conn) error { return c.SendText(t.Text()) },
			func(p *pollingState) error { return p.conn.SendPacket(t) })
	})
}

// sendSlow sends on the current transport, which cannot change meanwhile.
func (s *Session) sendSlow(onWebSocket func(*epoll.Conn) error, onPolling func(*pollingState) error) error {
	s.mu.Lock()
	var err error
	switch f := s.flags.Load(); {
	case f&(flagClosing|flagClosed) != 0:
		err = ErrClosed
	case f&flagWebSocket != 0:
		err = onWebSocket(s.conn)
	default:
		if err = onPolling(s.polling); err == transport.ErrSlowPeer && s.decideLocked(TransportError, err) {
			go s.finish(packet.Close) // the caller may hold locks that the handler takes
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

// packetsOf returns the packets of m.
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

// Writable reports whether a message could be sent without queueing. With polling, a request of the client must be
// waiting. With WebSocket, the kernel must have accepted all earlier messages; on a goroutine connection, up to 16 KiB
// may be on their way to it. Volatile messages are sent only to writable sessions.
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

// SendBuffer returns the packets that a polling client has not fetched. In Hooks.Close and HandleClose it returns the
// undelivered packets; afterwards it is empty. With WebSocket it is always empty. The packets must not be changed.
// Node.js: socket.conn.writeBuffer.
func (s *Session) SendBuffer() []packet.Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.polling
	if p == nil {
		return nil
	}
	items := p.unsent
	if s.flags.Load()&flagClosed == 0 {
		items = p.conn.Queue()
	}
	var packets []packet.Packet
	for _, i := range items {
		if i.Message != nil {
			packets = append(packets, packetsOf(i.Message)...)
		} else {
			packets = append(packets, packet.Packet{Type: i.Type})
		}
	}
	return packets
}
