package engineio

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/transport"
)

// pollV3 opens a v3 session; extra is added to its query.
func (f *fixture) pollV3(extra string) *poller {
	f.t.Helper()
	query := "?EIO=3&transport=polling" + extra
	_, body, _ := f.do("GET", query, "")
	length, packet, _ := strings.Cut(body, ":")
	if length != fmt.Sprint(len(packet)) {
		f.t.Fatalf("handshake: %q", body)
	}
	open := parseOpen(f.t, packet)
	if open.MaxPayload != 1e6 {
		f.t.Errorf("open packet %+v", open)
	}
	return &poller{f: f, sid: open.SID, open: open, query: query + "&sid=" + open.SID}
}

func binaryMessage(b ...byte) *transport.Message {
	m := transport.NewMessage()
	m.SetBinary(b)
	return m.Share()
}

func TestV3Polling(t *testing.T) {
	f := serve(t, Options{AllowEIO3: true})
	p := f.pollV3("")
	e := f.session()
	p.wantPost("1:2", 200, "ok")
	p.wantGet(200, "1:3")
	p.wantPost(`17:42["hello","€😀"]6:b4AQID`, 200, "ok")
	status, body, h := f.do("GET", p.query, "")
	if want := "\x00\x02\x01\xff" + `42["hello","€😀"]` + "\x01\x04\xff\x04\x01\x02\x03"; status != 200 || body != want || h.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d %q, want %q; content type %q", status, body, want, h.Get("Content-Type"))
	}
	_ = e.s.Send(transport.TextMessage(`2["hello","€😀"]`))
	_ = e.s.Send(transport.TextMessage("0"))
	p.wantGet(200, `17:42["hello","€😀"]2:40`)
	status, _, _ = f.do("POST", p.query, "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04", "Content-Type", "application/octet-stream")
	if status != 200 {
		t.Errorf("status %d", status)
	}
	p.wantGet(200, "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04")
	e.s.Close()
	p.wantGet(200, "1:61:1")
	e.expect(t, ForcedClose, "nil")

	p = f.pollV3("&b64=1")
	p.wantPost("6:b4AQID0:2:4a", 200, "ok")
	p.wantGet(200, "6:b4AQID2:4a")
	answer := p.park()
	p.wantPost("1:1", 200, "ok")
	want(t, answer, "200 1:6")

	p = f.pollV3("")
	answer = p.park()
	p.wantPost("3:4a", 200, "ok")
	want(t, answer, "200 1:1")
	p = f.pollV3("")
	f.session()
	f.session()
	p.wantPost("1:3", 200, "ok")
	f.session().expect(t, TransportError, "heartbeat")
}

func TestV3WebSocket(t *testing.T) {
	f := serve(t, Options{AllowEIO3: true})
	s := f.dial("?EIO=3&transport=websocket")
	parseOpen(t, s.text())
	e := f.session()
	s.write("2probe", "4a", "b4AQID")
	s.want("3")
	s.want("4a")
	wantBinary := func(want string) {
		t.Helper()
		if op, b := s.next(); op != ws.OpBinary || string(b) != want {
			t.Errorf("opcode %d %q", op, b)
		}
	}
	wantBinary("\x04\x01\x02\x03")
	s.send(ws.OpBinary, []byte{9, 9})
	s.send(ws.OpBinary, []byte{4, 5})
	wantBinary("\x04\x05")
	s.write("3")
	s.wantClose("")
	e.expect(t, TransportError, "heartbeat")

	s = f.dial("?EIO=3&transport=websocket&b64=1")
	s.text()
	f.session()
	s.send(ws.OpBinary, []byte{4, 1, 2, 3})
	s.want("b4AQID")
	if n := f.server.Sessions(); len(n) != 1 || n[0].Protocol() != 3 {
		t.Errorf("sessions %v", n)
	}
}

func TestV3Upgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := serveInMemory(t, Options{AllowEIO3: true})
		p := f.pollV3("")
		e := f.session()
		s := f.dial("?EIO=3&transport=websocket&sid=" + p.sid)
		s.write("2probe")
		s.want("3probe")
		p.wantGet(200, "1:6")
		_ = e.s.Send(binaryMessage(1, 2))
		s.write("5")
		if op, b := s.next(); op != ws.OpBinary || string(b) != "\x04\x01\x02" {
			t.Errorf("opcode %d %q", op, b)
		}
		s.write("2")
		s.want("3")
	})
}

func TestJSONP(t *testing.T) {
	f := serve(t, Options{AllowEIO3: true})
	query := "?EIO=3&transport=polling&b64=1&j=0x12"
	_, body, h := f.do("GET", query, "")
	wantHeader(t, h, map[string]string{"Content-Type": "text/plain; charset=UTF-8", "Cache-Control": "no-store"})
	e := f.session()
	if !strings.HasPrefix(body, `___eio[012]("`) || !strings.HasSuffix(body, `");`) || !strings.Contains(body, `{\"sid\":\"`+e.s.ID()) {
		t.Errorf("%q", body)
	}
	p := poller{f: f, query: query + "&sid=" + e.s.ID()}
	_ = e.s.Send(transport.TextMessage("0"))
	p.wantGet(200, `___eio[012]("2:40");`)
	_ = e.s.Send(transport.TextMessage("</script>&\"\\\n\u2028\u2029€\x1e"))
	p.wantGet(200, `___eio[012]("18:4</script>&\"\\\n\u2028\u2029€\u001e");`)
	_ = e.s.Send(binaryMessage(1, 2, 3))
	p.wantGet(200, `___eio[012]("6:b4AQID");`)

	post := func(form string) {
		t.Helper()
		status, body, _ := f.do("POST", p.query, form, "Content-Type", "application/x-www-form-urlencoded")
		if status != 200 || body != "ok" {
			t.Errorf("%d %q", status, body)
		}
	}
	post("x=1")
	post("d=" + url.QueryEscape(`5:4"a\nb`) + "&d2=3")
	p.wantGet(200, `___eio[012]("5:4\"a\nb");`)
	post("d=" + url.QueryEscape(`8:4"a\\nb €`))
	p.wantGet(200, `___eio[012]("8:4\"a\\nb €");`)

	// The index may be empty.
	for _, j := range []string{"&j=", "&j"} {
		for _, eio := range []string{"3", "4"} {
			if _, body, _ = f.do("GET", "?transport=polling&EIO="+eio+j, ""); !strings.HasPrefix(body, `___eio[]("`) {
				t.Errorf("EIO=%s%s: %q", eio, j, body)
			}
			f.session()
		}
	}

	// JSONP is possible in v4 too.
	_, body, _ = f.do("GET", handshake+"&j=1", "")
	e = f.session()
	if !strings.HasPrefix(body, `___eio[1]("0{`) {
		t.Errorf("%q", body)
	}
	_, _, _ = f.do("POST", handshake+"&sid="+e.s.ID(), "d=4a%1E4b", "Content-Type", "application/x-www-form-urlencoded")
	_, body, _ = f.do("GET", handshake+"&sid="+e.s.ID(), "")
	if body != `___eio[1]("4a\u001e4b");` {
		t.Errorf("%q", body)
	}
}
