package engineio

import (
	"testing"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/transport"
)

func TestPollingEcho(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	answer := p.park()
	p.wantPost("4hello", 200, "ok")
	want(t, answer, "200 4hello")
	p.wantPost("4a\x1e4€😀\x1ebAQID\x1eb", 200, "ok")
	p.wantGet(200, "4a\x1e4€😀\x1ebAQID\x1eb")
	p.wantPost("1", 200, "ok")
	f.session().expect(t, TransportClose, "nil")
	p.wantGone()
}

func TestWebSocketEcho(t *testing.T) {
	f := serve(t, Options{})
	s, open := f.open()
	if len(open.Upgrades) != 0 || open.MaxPayload != 1e6 || open.PingInterval != 25000 || open.PingTimeout != 20000 {
		t.Errorf("open packet %+v", open)
	}
	s.write("4hello")
	s.want("4hello")
	s.send(ws.OpBinary, []byte{1, 2, 3})
	if op, b := s.next(); op != ws.OpBinary || string(b) != "\x01\x02\x03" {
		t.Errorf("opcode %d %q", op, b)
	}
	s.write("0", "1", "5", "6", "bAQ", "4end")
	if op, b := s.next(); op != ws.OpBinary || string(b) != "\x01" {
		t.Errorf("opcode %d %q", op, b)
	}
	s.want("4end")
	s.conn.Close()
	f.session().expect(t, TransportClose, "nil")
}

func TestUpgrade(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	e := f.session()
	answer := p.park()
	s := f.dial("?EIO=4&transport=websocket&sid=" + p.sid)
	s.write("2probe")
	s.want("3probe")
	want(t, answer, "200 6")
	_ = e.s.Send(transport.TextMessage("before"))
	s.write("5", "4after")
	s.want("4before")
	s.want("4after")
	if !e.s.Upgraded() || e.s.Transport() != WebSocket {
		t.Error("the session does not know that it was upgraded")
	}
	p.wantGet(400, `{"code":3,"message":"Bad request"}`)
	e.s.Close()
	s.wantClose("")
	e.expect(t, ForcedClose, "nil")
}
