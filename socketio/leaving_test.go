package socketio_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/myriad-rt/myriad/socketio"
)

// Packets that are not text, for asFrames and asPayload.
const (
	binaryPrefix = "\x00" // the rest is binary
	closeFrame   = "\x01"
)

// asFrames returns packets as the frames that a client sends.
func asFrames(packets []string) []byte {
	var b bytes.Buffer
	for _, p := range packets { // writing to a Buffer does not fail
		switch data, isBinary := strings.CutPrefix(p, binaryPrefix); {
		case p == closeFrame:
			_ = wsutil.WriteClientMessage(&b, ws.OpClose, nil)
		case isBinary:
			_ = wsutil.WriteClientBinary(&b, []byte(data))
		default:
			_ = wsutil.WriteClientText(&b, []byte(p))
		}
	}
	return b.Bytes()
}

// asPayload returns packets as the body of a POST.
func asPayload(packets []string) string {
	var list []string
	for _, p := range packets {
		if data, isBinary := strings.CutPrefix(p, binaryPrefix); isBinary {
			p = "b" + base64.StdEncoding.EncodeToString([]byte(data))
		}
		list = append(list, p)
	}
	return strings.Join(list, "\x1e")
}

// TestEventsBeforeLeaving sends events and leaves, in one piece, while the handler of the first event is busy. All are
// handled, in order, before the handlers for the end.
func TestEventsBeforeLeaving(t *testing.T) {
	const count = 80
	type event struct {
		Number int
		Data   []byte
	}
	formats := map[string]func(int) []string{
		"text": func(i int) []string { return []string{fmt.Sprintf(`42["e",{"Number":%d}]`, i)} },
		"binary": func(i int) []string {
			return []string{
				fmt.Sprintf(`451-["e",{"Number":%d,"Data":{"_placeholder":true,"num":0}}]`, i), binaryPrefix + "data",
			}
		},
	}
	ends := map[string]string{
		"disconnect": "41", "close": "1", "violation": "40", "bad packet": "4x", "bad engine packet": "x",
		"close frame": closeFrame,
	}
	seen, gate := make(chan string, 2*count), make(chan struct{}, 1)
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		socketio.On(s, "e", func(so *socketio.Socket, e event) {
			if e.Number == 0 {
				<-gate
			}
			seen <- fmt.Sprint(e.Number)
		})
		s.OnError(func(_ *socketio.Socket, err error) { seen <- "error" })
		s.OnDisconnecting(func(*socketio.Socket, socketio.DisconnectReason) { seen <- "disconnecting" })
		s.OnDisconnect(func(*socketio.Socket, socketio.DisconnectReason) { seen <- "disconnect" })
	}, func(t *testing.T, s *socketio.Server, url string) {
		for format, event := range formats {
			for name, end := range ends {
				var packets, want []string
				for i := range count {
					packets, want = append(packets, event(i)...), append(want, fmt.Sprint(i))
				}
				packets = append(packets, end)
				if name == "bad packet" {
					want = append(want, "error")
				}
				want = append(want, "disconnecting", "disconnect")
				test := func(t *testing.T, send func()) {
					send()
					eventually(t, "the socket has left", func() bool { return len(s.Sockets()) == 0 })
					gate <- struct{}{}
					for _, want := range want {
						if got := receive(t, seen); got != want {
							t.Fatalf("got %q, want %q", got, want)
						}
					}
				}
				// A Close packet means nothing on a WebSocket, nor a close frame elsewhere.
				if end != "1" && !t.Run("websocket "+format+" "+name, func(t *testing.T) {
					p := connect(t, url, "")
					test(t, func() {
						if _, err := p.conn.Write(asFrames(packets)); err != nil {
							t.Fatal(err)
						}
					})
				}) {
					return // the next case would see the events of this one
				}
				if end != closeFrame && !t.Run("polling "+format+" "+name, func(t *testing.T) {
					p := connectPoller(t, url)
					test(t, func() {
						p.do(http.MethodPost, asPayload(packets))
						if name == "bad packet" {
							p.do(http.MethodGet, "") // which the session waits for
						}
					})
				}) {
					return
				}
			}
		}
	})
}
