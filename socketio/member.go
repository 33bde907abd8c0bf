package socketio

import (
	"encoding/json"

	"github.com/myriad-rt/myriad/adapter"
)

// member is a Socket as its adapter sees it.
type member Socket

var _ adapter.Socket = (*member)(nil)

// socketOf returns the Socket that an adapter knows as s.
func socketOf(s adapter.Socket) *Socket { return (*Socket)(s.(*member)) }

func (m *member) ID() string { return m.id }

func (m *member) Reachable() bool { return (*Socket)(m).reachable() }

func (m *member) Member() *adapter.Member { return &m.record }

func (m *member) ExpectAck(id uint64, ack func(Args)) { (*Socket)(m).expect(id, ackWaiter{do: ack}) }

func (m *member) DropAck(id uint64) { (*Socket)(m).takeAck(id) }

func (m *member) Describe() adapter.Description {
	s := (*Socket)(m)
	d := adapter.Description{ID: s.id, Data: json.RawMessage("{}")}
	var err error
	if d.Handshake, err = json.Marshal(s.Handshake().Details()); err != nil {
		s.ns.server.opts.Logger.Warn("handshake cannot be encoded", "socket", s.id, "err", err)
	}
	if v := s.Data(); v != nil {
		if data, err := json.Marshal(v); err == nil {
			d.Data = data
		} else {
			s.ns.server.opts.Logger.Warn("socket data cannot be encoded", "socket", s.id, "err", err)
		}
	}
	return d
}

func (m *member) Disconnect(closeConn bool) { (*Socket)(m).Disconnect(closeConn) }
