package epoll

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/transport"
)

// flateClient compresses like a client, with the standard library.
type flateClient struct {
	takeover bool
	out      bytes.Buffer
	w        *flate.Writer
}

func newFlateClient(takeover bool) *flateClient {
	f := &flateClient{takeover: takeover}
	f.w, _ = flate.NewWriter(&f.out, 6)
	return f
}

func (f *flateClient) deflate(s string) string {
	f.out.Reset()
	if !f.takeover {
		f.w.Reset(&f.out)
	}
	io.WriteString(f.w, s)
	f.w.Flush()
	return strings.TrimSuffix(f.out.String(), "\x00\x00\xff\xff")
}

// compressedFrame is a frame with RSV1.
func compressedFrame(fin bool, op transport.Op, payload string) []byte {
	b := frame(fin, op, payload)
	b[0] |= rsv1Bit
	return b
}

// deflateConn is a client with permessage-deflate.
type deflateConn struct {
	*client
	flate  *flateClient
	window []byte // of the server, nil without take-over
	server bool   // context take-over
}

// dialDeflate performs a handshake with an offer and expects the given response.
func (ts *testServer) dialDeflate(t testing.TB, offer, want string) *deflateConn {
	t.Helper()
	c := &client{t: t, Conn: ts.dialRaw(t)}
	c.r = bufio.NewReader(c.Conn)
	c.send([]byte(strings.TrimSuffix(handshake, "\r\n") + "Sec-WebSocket-Extensions: " + offer + "\r\n\r\n"))
	var err error
	if c.answer, err = http.ReadResponse(c.r, nil); err != nil {
		t.Fatal(err)
	}
	if got := c.answer.Header.Get("Sec-WebSocket-Extensions"); got != want {
		t.Fatalf("offer %q is answered %q, want %q", offer, got, want)
	}
	return &deflateConn{
		client: c,
		flate:  newFlateClient(!strings.Contains(want, "client_no_context_takeover")),
		server: !strings.Contains(want, "server_no_context_takeover"),
	}
}

// next reads a frame and describes it; compressed payloads are marked and inflated.
func (c *deflateConn) next() string {
	c.t.Helper()
	f, err := c.frame()
	if err != nil {
		return c.end(err)
	}
	payload, marked := string(f.Payload), ""
	if f.Header.Rsv1() {
		marked = "compressed "
		all, err := io.ReadAll(flate.NewReaderDict(strings.NewReader(payload+tail), c.window))
		if err != nil {
			c.t.Fatalf("payload % .50x: %v", payload, err)
		}
		payload = string(all)
		if c.server {
			c.window = append(c.window, payload...)
			c.window = c.window[max(0, len(c.window)-1<<15):]
		}
	}
	switch transport.Op(f.Header.OpCode) {
	case transport.OpText:
		return marked + "text " + payload
	case transport.OpBinary:
		return marked + "binary " + payload
	case transport.OpPong:
		return marked + "pong " + payload
	default:
		return fmt.Sprintf("%sopcode %d % x", marked, f.Header.OpCode, payload)
	}
}

func (c *deflateConn) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.next(); got != w {
			c.t.Fatalf("received %.100q (%d bytes), want %.100q (%d bytes)", got, len(got), w, len(w))
		}
	}
}

func (c *deflateConn) sendCompressed(op transport.Op, payload string) {
	c.t.Helper()
	c.send(compressedFrame(true, op, c.flate.deflate(payload)))
}

// deflateKinds runs a test for each kind of connection with these options.
func deflateKinds(t *testing.T, o PerMessageDeflate, test func(t *testing.T, k kind)) {
	kinds(t, func(t *testing.T, k kind) {
		k.options.PerMessageDeflate = &o
		test(t, k)
	})
}

const browserOffer = "permessage-deflate; client_max_window_bits"

// noise returns n bytes that cannot be compressed.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}

func TestDeflateRoundTrips(t *testing.T) {
	repeated := strings.Repeat("repeated ", 8_000) // more than a length of 16 bits can say
	messages := []string{"4short", repeated, "", "x", "4€💥" + repeated[:2000], "4short", repeated}
	for _, test := range []struct {
		offer, answer string
		options       PerMessageDeflate
		threshold     int
	}{
		{browserOffer, "permessage-deflate", PerMessageDeflate{}, 0},
		{"permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover", PerMessageDeflate{}, 1024},
		{browserOffer, "permessage-deflate; client_no_context_takeover", PerMessageDeflate{ClientNoContextTakeover: true, Level: 9}, 0},
		{browserOffer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
			PerMessageDeflate{ServerNoContextTakeover: true, ClientNoContextTakeover: true, Threshold: 5}, 5},
		{browserOffer, "permessage-deflate; server_no_context_takeover", PerMessageDeflate{ServerNoContextTakeover: true, Threshold: -1}, 0},
		{"permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8", PerMessageDeflate{}, 0},
		{browserOffer, "permessage-deflate; server_max_window_bits=12", PerMessageDeflate{ServerMaxWindowBits: 12}, 0},
	} {
		t.Run(test.answer, func(t *testing.T) {
			deflateKinds(t, test.options, func(t *testing.T, k kind) {
				ts := serve(t, k, echo)
				c := ts.dialDeflate(t, test.offer, test.answer)
				for range 2 {
					for _, m := range messages {
						want := "text " + m
						if len(m) >= test.threshold {
							want = "compressed " + want
						}
						c.send(text(m))
						c.expect(want)
						c.sendCompressed(transport.OpText, m)
						c.expect(want)
					}
					binary := noise(60_000)
					c.sendCompressed(transport.OpBinary, binary)
					c.expect("compressed binary " + binary)
					c.send(frame(true, transport.OpPing, "ping"))
					c.expect("pong ping")
				}
			})
		})
	}
}

func TestDeflateIsOffByDefault(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		ts := serve(t, k, echo)
		c := ts.dialDeflate(t, browserOffer, "")
		c.sendCompressed(transport.OpText, "a")
		c.expect("opcode 8 03 ea")
	})
}

func TestDeflateIsLeftToTheClient(t *testing.T) {
	ts := serve(t, kind{options: Options{PerMessageDeflate: new(PerMessageDeflate)}}, echo)
	c := ts.dial(t)
	long := strings.Repeat("a", 5000)
	c.send(text(long))
	c.expect("text " + long)
}

func TestDeflateRefusedOffer(t *testing.T) {
	ts := serve(t, kind{options: Options{PerMessageDeflate: new(PerMessageDeflate)}}, echo)
	conn := ts.dialRaw(t)
	io.WriteString(conn, strings.TrimSuffix(handshake, "\r\n")+"Sec-WebSocket-Extensions: permessage-deflate; x\r\n\r\n")
	got, _ := io.ReadAll(conn)
	const text = "Invalid or unacceptable Sec-WebSocket-Extensions header"
	want := fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	if string(got) != want {
		t.Errorf("answer %q, want %q", got, want)
	}
}

func TestDeflateMessageParts(t *testing.T) {
	long := strings.Repeat("long ", 1000)
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			deflateKinds(t, PerMessageDeflate{}, func(t *testing.T, k kind) {
				ts := serve(t, k, func(c *Conn) {
					for _, noCompress := range []bool{false, true} {
						m := transport.NewMessage()
						m.NoCompress = noCompress
						m.SetText(append(m.Buffer(), "short"...))
						m.SetBinary([]byte(long), []byte("bin"))
						if shared {
							m = m.Share()
						}
						c.Send(m)
						m.Release()
					}
					c.Start(echoHandler{})
				})
				plain := []string{"text 4short", "binary " + long, "binary bin"}
				c := ts.dialDeflate(t, "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover")
				c.expect("text 4short", "compressed binary "+long, "binary bin")
				c.expect(plain...)
				c = ts.dialDeflate(t, browserOffer, "permessage-deflate")
				c.expect("compressed text 4short", "compressed binary "+long, "compressed binary bin")
				c.expect(plain...)
			})
		})
	}
}

func TestDeflateThresholdIsReached(t *testing.T) {
	ts := serve(t, kind{options: Options{PerMessageDeflate: &PerMessageDeflate{ServerNoContextTakeover: true}}}, echo)
	c := ts.dialDeflate(t, browserOffer, "permessage-deflate; server_no_context_takeover")
	below, at := strings.Repeat("a", 1023), strings.Repeat("a", 1024)
	c.send(append(text(below), text(at)...))
	c.expect("text "+below, "compressed text "+at)
}

// newServerConn returns an unstarted Conn without a network, for a server with these options.
func newServerConn(t testing.TB, o PerMessageDeflate, e *extension) *Conn {
	t.Helper()
	options, err := (&Options{PerMessageDeflate: &o}).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{options: options}
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		s.deflate[bits] = newDeflater(options.PerMessageDeflate, bits)
	}
	tr := &transcriber{sink: sink{owner: s}}
	return &Conn{by: carriedBy(tr), handler: tr, deflate: s.newDeflate(e)}
}

func withoutTakeover() *extension {
	e := new(extension)
	e.set(serverNoContextTakeover, stated)
	e.set(clientNoContextTakeover, stated)
	return e
}

// TestDeflateBroadcastOnce checks that connections without context share one compressed payload.
func TestDeflateBroadcastOnce(t *testing.T) {
	m := transport.TextMessage(noise(5000) + strings.Repeat("a", 5000))
	first := newServerConn(t, PerMessageDeflate{}, withoutTakeover())
	s := first.carrier().server()
	first.Send(m)
	sent := first.out.chunks[0].data
	if sent[0] != finBit|rsv1Bit|byte(transport.OpText) || len(sent) > 6000 {
		t.Fatalf("%d bytes % x…", len(sent), sent[:4])
	}
	for range 20 {
		c := &Conn{by: first.by, deflate: s.newDeflate(withoutTakeover())}
		c.Send(m)
		if data := c.out.chunks[0].data; &data[0] != &sent[0] {
			t.Fatal("compressed again")
		}
	}
	if made := testing.AllocsPerRun(100, func() { m.Deflated(transport.FormatV4, s.deflate[maxWindowBits]) }); made != 0 {
		t.Errorf("%v allocations for a message that is compressed already", made)
	}
}

func TestDeflateBroadcastToAll(t *testing.T) {
	const clients = 10
	offers := map[string]string{
		browserOffer: "permessage-deflate",
		"permessage-deflate; server_no_context_takeover":                            "permessage-deflate; server_no_context_takeover",
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=10": "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
	}
	deflateKinds(t, PerMessageDeflate{}, func(t *testing.T, k kind) {
		ts := serve(t, k, echo)
		var all []*deflateConn
		var conns []*Conn
		for offer, answer := range offers {
			for range clients {
				all = append(all, ts.dialDeflate(t, offer, answer))
				conns = append(conns, <-ts.conns)
			}
		}
		var want []string
		for i := range 20 {
			payload := fmt.Sprint(i) + strings.Repeat("broadcast ", 100*i)
			m := transport.TextMessage(payload)
			want = append(want, "text 4"+payload)
			for _, c := range conns {
				if err := c.Send(m); err != nil {
					t.Error(err)
				}
			}
		}
		for _, c := range all {
			for _, w := range want {
				if got := strings.TrimPrefix(c.next(), "compressed "); got != w {
					t.Fatalf("received %.100q, want %.100q", got, w)
				}
			}
		}
	})
}

// TestDeflateConcurrentSenders checks that contexts follow the order on the wire.
func TestDeflateConcurrentSenders(t *testing.T) {
	const senders, each = 4, 100
	deflateKinds(t, PerMessageDeflate{}, func(t *testing.T, k kind) {
		ts := serve(t, k, echo)
		c := ts.dialDeflate(t, browserOffer, "permessage-deflate")
		conn := <-ts.conns
		for i := range senders {
			go func() {
				for j := range each {
					conn.SendText(fmt.Sprintf("%d %d %s", i, j, strings.Repeat("context ", j)))
				}
			}()
		}
		var next [senders]int
		for range senders * each {
			var i, j int
			if _, err := fmt.Sscanf(c.next(), "compressed text %d %d", &i, &j); err != nil || next[i] != j {
				t.Fatalf("sender %d: message %d, want %d (%v)", i, j, next[i], err)
			}
			next[i]++
		}
	})
}

func TestDeflateFragments(t *testing.T) {
	long := "4" + noise(3000) + strings.Repeat("z", 3000)
	client := newFlateClient(true)
	first, second := client.deflate("4first "), client.deflate("4first again")
	third := client.deflate(strings.ToValidUTF8(long, "?"))
	input := slices.Concat(
		compressedFrame(false, transport.OpText, first[:2]),
		frame(true, transport.OpPing, "p"),
		frame(false, transport.OpContinuation, ""),
		frame(false, transport.OpContinuation, first[2:]),
		frame(true, transport.OpContinuation, ""),
		text("4plain"),
		compressedFrame(false, transport.OpText, ""),
		frame(true, transport.OpContinuation, second),
		frame(false, transport.OpText, "4pl"),
		frame(true, transport.OpContinuation, "ain"),
		compressedFrame(true, transport.OpText, third),
		compressedFrame(true, transport.OpText, ""),
	)
	var want []string
	for _, s := range []string{"4first ", "4plain", "4first again", "4plain", strings.ToValidUTF8(long, "?"), ""} {
		want = append(want, fmt.Sprintf("false %x", s))
	}
	pong := append(transport.AppendHeader(nil, transport.OpPong, 1), 'p')
	splits := [][]byte{nil, bytes.Repeat([]byte{1}, len(input)), bytes.Repeat([]byte{3}, len(input)/3), {200, 0, 1, 255}}
	for i := range 120 {
		splits = append(splits, []byte{byte(i)})
	}
	for _, lengths := range splits {
		got := feedSplitDeflate(t, 1e6, newServerConn(t, PerMessageDeflate{}, new(extension)).deflate, input, lengths)
		if !slices.Equal(got.events, want) || !bytes.Equal(got.answer, pong) {
			t.Fatalf("split %v: %.300q, answer % x", lengths, got.events, got.answer)
		}
	}
}

func TestDeflateViolations(t *testing.T) {
	c := newFlateClient(false)
	a, b := c.deflate(strings.Repeat("a", 100)), c.deflate(strings.Repeat("b", 1001))
	context := newFlateClient(true)
	fresh, dependent := context.deflate("some text to be referred to"), context.deflate("some text to be referred to")
	none := withoutTakeover()
	for _, test := range []struct {
		name  string
		code  int
		e     *extension
		input []byte
	}{
		{"reserved bit 2", 1002, none, []byte{0xA1, 0x80}},
		{"reserved bits 1 and 3", 1002, none, []byte{0xD1, 0x80}},
		{"compressed ping", 1002, none, compressedFrame(true, transport.OpPing, "")},
		{"compressed pong", 1002, none, compressedFrame(true, transport.OpPong, a)},
		{"compressed close", 1002, none, compressedFrame(true, transport.OpClose, "\x03\xe8")},
		{"compressed continuation", 1002, none, append(compressedFrame(false, transport.OpText, a[:1]), compressedFrame(true, transport.OpContinuation, a[1:])...)},
		{"compressed continuation of plain message", 1002, none, append(frame(false, transport.OpText, a), compressedFrame(true, transport.OpContinuation, a)...)},
		{"compressed continuation first", 1002, none, compressedFrame(true, transport.OpContinuation, a)},
		{"compressed opcode 3", 1002, none, []byte{0xC3, 0x80}},
		{"no deflate data", 1007, none, compressedFrame(true, transport.OpText, "\xff\xff\xff\xff")},
		{"breaks off", 1007, none, compressedFrame(true, transport.OpBinary, c.deflate(noise(100))[:50])},
		{"not UTF-8", 1007, none, compressedFrame(true, transport.OpText, c.deflate("\xff"))},
		{"not UTF-8 in fragments", 1007, none, append(compressedFrame(false, transport.OpText, c.deflate("\xff")), frame(true, transport.OpContinuation, "")...)},
		{"context is referred to without take-over", 1007, none,
			append(compressedFrame(true, transport.OpText, fresh), compressedFrame(true, transport.OpText, dependent)...)},
		{"distance beyond the start", 1007, new(extension), compressedFrame(true, transport.OpText, dependent)},
		{"inflated size", 1009, none, compressedFrame(true, transport.OpText, b)},
		{"inflated size of fragments", 1009, none, append(compressedFrame(false, transport.OpText, b[:3]), frame(true, transport.OpContinuation, b[3:])...)},
		{"compressed size", 1009, none, compressedFrame(true, transport.OpText, strings.Repeat("x", 1001))},
	} {
		for _, lengths := range [][]byte{nil, bytes.Repeat([]byte{1}, len(test.input))} {
			got := feedSplitDeflate(t, 1000, newServerConn(t, PerMessageDeflate{}, test.e).deflate, append(test.input, text("ignored")...), lengths)
			if want := closeAnswer(test.code, ""); !bytes.Equal(got.answer, want) {
				t.Errorf("%s: answer % x, want % x", test.name, got.answer, want)
			}
			if n := len(got.events); n > 0 && got.events[n-1] == "false 69676e6f726564" {
				t.Errorf("%s: goes on", test.name)
			}
		}
	}
}
