package engineio

import (
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/transport"
)

func TestWebSocketViolations(t *testing.T) {
	tests := []struct {
		name   string
		frame  ws.Frame
		code   string
		reason CloseReason
	}{
		{"too large", ws.MaskFrame(ws.NewTextFrame([]byte("4" + strings.Repeat("a", 1000)))), "\x03\xf1", TransportError},
		{"not UTF-8", ws.MaskFrame(ws.NewTextFrame([]byte("4\xff"))), "\x03\xef", TransportError},
		{"unmasked", ws.NewTextFrame([]byte("4a")), "\x03\xea", TransportError},
		{"close frame", ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(4321, "bye"))), "\x10\xe1bye", TransportClose},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := serve(t, Options{MaxHTTPBufferSize: 1000})
			s, _ := f.open()
			exact := "4" + strings.Repeat("a", 999)
			s.write(exact)
			s.want(exact)
			if err := ws.WriteFrame(s.conn, tt.frame); err != nil {
				t.Fatal(err)
			}
			if op, b := s.next(); op != ws.OpClose || string(b) != tt.code {
				t.Errorf("opcode %d %q", op, b)
			}
			f.session().expect(t, tt.reason, map[CloseReason]string{TransportError: "transport: ", TransportClose: "nil"}[tt.reason])
		})
	}
}

func TestWebSocketBase64(t *testing.T) {
	f := serve(t, Options{})
	s := f.dial("?EIO=4&transport=websocket&b64=1")
	s.text()
	s.write("bAQID")
	s.want("bAQID")
	s.send(ws.OpBinary, []byte{4})
	s.want("bBA==")
}

func TestMessageParts(t *testing.T) {
	f := serve(t, Options{})
	s, _ := f.open()
	m := transport.NewMessage()
	defer m.Release()
	m.SetText(append(m.Buffer(), "text"...))
	m.SetBinary([]byte{1}, []byte{2})
	_ = f.session().s.Send(m)
	s.want("4text")
	for _, want := range []string{"\x01", "\x02"} {
		if op, b := s.next(); op != ws.OpBinary || string(b) != want {
			t.Errorf("opcode %d %q", op, b)
		}
	}
}

func TestSlowReader(t *testing.T) {
	f := serve(t, Options{MaxQueuedBytes: 1 << 20})
	f.open() // and never read
	e := f.session()
	m := transport.TextMessage(strings.Repeat("a", 100000))
	var err error
	for err == nil {
		err = e.s.Send(m)
	}
	if err != ErrSlowPeer {
		t.Errorf("Send returned %v", err)
	}
	e.expect(t, TransportError, "fast enough")
}

func TestPausedWebSocket(t *testing.T) {
	got := make(chan string, 10)
	f := serve(t, Options{OnSession: func(s *Session) Handler {
		e := newEcho(s)
		e.on = func(data []byte, _ bool) bool {
			s.Pause()
			got <- string(data)
			return false
		}
		return e
	}})
	s, open := f.open()
	s.write("4a")
	<-got
	s.write("4b")
	session := f.server.Session(open.SID)
	session.Resume()
	if b := <-got; b != "b" {
		t.Errorf("%q", b)
	}
}

func TestGarbageAfterHandshake(t *testing.T) {
	f := serve(t, Options{})
	p := f.poll()
	for _, query := range []string{"?EIO=4&transport=websocket", "?EIO=4&transport=websocket&sid=" + p.sid} {
		s := f.dial(query)
		_, _ = io.WriteString(s.conn, strings.Repeat("\xff\x00garbage", 50))
		_, _ = io.Copy(io.Discard, s.conn)
	}
	p.wantPost("4alive", 200, "ok")
	p.wantGet(200, "4alive")
	eventually(t, "one session", func() bool { return f.server.ClientsCount() == 1 })
}
