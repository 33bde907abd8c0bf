package epoll

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/transport"
)

// sink is a carrier without a network: it keeps written bytes.
type sink struct {
	owner   *Server
	written []byte
}

func carriedBy(c carrier) *carrier { return &c }

func (s *sink) server() *Server { return s.owner }
func (s *sink) start(*Conn)     {}
func (s *sink) write(_ *Conn, b []byte) (int, error) {
	s.written = append(s.written, b...)
	return len(b), nil
}
func (s *sink) writeQueue(*Conn) (int, error)                                 { return 0, nil }
func (s *sink) watch(*Conn)                                                   {}
func (s *sink) signal(*Conn)                                                  {}
func (s *sink) slack() int                                                    { return 0 }
func (s *sink) heard(*Conn, time.Duration) bool                               { return true }
func (s *sink) unread(*Conn) bool                                             { return false }
func (s *sink) HandleDrain(transport.Conn)                                    {}
func (s *sink) HandleClose(transport.Conn, error)                             {}
func (s *sink) Run(transport.Conn)                                            {}
func (s *sink) HandleMessage(c transport.Conn, data []byte, binary bool) bool { return false }

// transcript is the output of a parser: messages, and the frames sent in reply.
type transcript struct {
	events []string
	answer []byte
}

type transcriber struct {
	sink
	events []string
}

func (tr *transcriber) HandleMessage(c transport.Conn, data []byte, binary bool) bool {
	tr.events = append(tr.events, fmt.Sprintf("%v %x", binary, data))
	// The parser must not read bytes that a handler may have overwritten.
	clear(data)
	return len(data)%2 == 1
}

// feedSplit feeds a copy of b in pieces of the given lengths, and then the rest.
func feedSplit(t testing.TB, limit int64, b []byte, lengths []byte) transcript {
	t.Helper()
	return feedSplitDeflate(t, limit, nil, b, lengths)
}

// feedSplitDeflate is feedSplit for a connection with this state of permessage-deflate.
func feedSplitDeflate(t testing.TB, limit int64, d *deflate, b []byte, lengths []byte) transcript {
	t.Helper()
	tr := &transcriber{sink: sink{owner: &Server{options: Options{MaxMessageBytes: limit, MaxQueuedBytes: 1 << 30}}}}
	c := &Conn{by: carriedBy(tr), handler: tr, deflate: d}
	c.state.Or(started)
	odd := false
	run := false
	before := 0
	feed := func(piece []byte) {
		run = c.feed(bytes.Clone(piece))
		odd = false
		for _, e := range tr.events[before:] {
			odd = odd || len(e[strings.IndexByte(e, ' ')+1:])/2%2 == 1
		}
		before = len(tr.events)
		if run != odd {
			t.Errorf("run is %v, want %v", run, odd)
		}
	}
	for _, n := range lengths {
		n := min(int(n), len(b))
		feed(b[:n])
		b = b[n:]
	}
	feed(b)
	if in := c.in; in != nil && !c.has(closing) && in.headLen == 0 && !in.inside && in.op == 0 {
		t.Error("buffer is kept between messages")
	}
	return transcript{tr.events, tr.written}
}

// reference decodes b with another implementation. exact is false if b ends within a header, which may already show
// a violation.
func reference(limit int64, b []byte) (tr transcript, exact bool) {
	r := bytes.NewReader(b)
	violation := func(code int) (transcript, bool) {
		tr.answer = append(tr.answer, closeAnswer(code, "")...)
		return tr, true
	}
	var op ws.OpCode
	var message []byte
	state := ws.StateServerSide
	size, fragments := int64(0), 0
	for {
		start := b[len(b)-r.Len():]
		h, err := ws.ReadHeader(r)
		if err != nil {
			return tr, len(start) == 0
		}
		if ws.CheckHeader(h, state) != nil || h.OpCode.IsControl() && start[1]&lenBits > maxControl {
			return violation(1002)
		}
		if !h.OpCode.IsControl() {
			if size += h.Length; size > limit {
				return violation(1009)
			}
			if fragments++; fragments > maxFragments {
				return violation(1008)
			}
		}
		payload := make([]byte, min(h.Length, int64(len(b))))
		if _, err := io.ReadFull(r, payload); err != nil || int64(len(payload)) < h.Length {
			return tr, true
		}
		ws.Cipher(payload, h.Mask, 0)
		switch h.OpCode {
		case ws.OpPing:
			tr.answer = append(transport.AppendHeader(tr.answer, transport.OpPong, len(payload)), payload...)
			continue
		case ws.OpPong:
			continue
		case ws.OpClose:
			if len(payload) == 0 {
				return violation(0)
			}
			code, reason := ws.ParseCloseFrameData(payload)
			switch {
			case len(payload) == 1 || !slices.Contains(closeCodes, int(code)) && (code < 3000 || code > 4999):
				return violation(1002)
			case !utf8.ValidString(reason):
				return violation(1007)
			}
			tr.answer = append(tr.answer, closeAnswer(int(code), reason)...)
			return tr, true
		}
		if h.OpCode != ws.OpContinuation {
			op = h.OpCode
		}
		message = append(message, payload...)
		state = state.Set(ws.StateFragmented)
		if h.Fin {
			if op == ws.OpText && !utf8.Valid(message) {
				return violation(1007)
			}
			tr.events = append(tr.events, fmt.Sprintf("%v %x", op == ws.OpBinary, message))
			op, message, size, fragments = 0, nil, 0, 0
			state = state.Clear(ws.StateFragmented)
		}
	}
}

var closeCodes = []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}

// closeAnswer is a close frame from a server.
func closeAnswer(code int, reason string) []byte {
	payload := append(appendCode(nil, code), reason...)
	return append(transport.AppendHeader(nil, transport.OpClose, len(payload)), payload...)
}

func compare(t testing.TB, limit int64, input, lengths []byte) {
	t.Helper()
	want, exact := reference(limit, input)
	got := feedSplit(t, limit, input, lengths)
	if !slices.Equal(got.events, want.events) {
		t.Errorf("input % x split %v: messages\n%s\nwant\n%s", input, lengths,
			strings.Join(got.events, "\n"), strings.Join(want.events, "\n"))
	}
	if !bytes.Equal(got.answer, want.answer) && (exact || !bytes.HasPrefix(got.answer, want.answer)) {
		t.Errorf("input % x split %v: answer % x, want % x", input, lengths, got.answer, want.answer)
	}
}

// script is a conversation that uses every permitted feature.
var script = slices.Concat(
	text("2probe"),
	text(""),
	frame(true, transport.OpBinary, "\x00\x01\x02"),
	frame(true, transport.OpPing, "between"),
	frame(false, transport.OpText, "4[\"frag"),
	frame(true, transport.OpPing, "inside"),
	frame(false, transport.OpContinuation, ""),
	frame(true, transport.OpPong, ""),
	frame(true, transport.OpContinuation, "mented\"]"),
	text(strings.Repeat("s", 125)),
	text(strings.Repeat("m", 126)),
	frame(false, transport.OpText, "\xe2"),
	frame(false, transport.OpContinuation, "\x82"),
	frame(true, transport.OpContinuation, "\xac"),
	frame(false, transport.OpBinary, ""),
	frame(true, transport.OpContinuation, ""),
	text(strings.Repeat("l", 1<<16)),
	text("after"),
	closeFrame(3000, "done"),
	text("ignored"),
)

func TestFeedSplitAnywhere(t *testing.T) {
	const limit = 1 << 17
	whole := feedSplit(t, limit, script, nil)
	if n := len(whole.events); n != 10 {
		t.Fatalf("%d messages: %.300q", n, whole.events)
	}
	if !bytes.HasSuffix(whole.answer, closeAnswer(3000, "done")) {
		t.Errorf("answer ends in %.20x", whole.answer)
	}
	compare(t, limit, script, nil)
	compare(t, limit, script, bytes.Repeat([]byte{1}, len(script)))
	compare(t, limit, script, bytes.Repeat([]byte{2}, len(script)/2))
	compare(t, limit, script, bytes.Repeat([]byte{255}, len(script)/255))
	short := script[:700]
	for i := range short {
		compare(t, limit, short, slices.Concat(bytes.Repeat([]byte{255}, i/255), []byte{byte(i % 255)}))
	}
}

// violations are answered with a close frame of this code.
var violations = []struct {
	name  string
	code  int
	input []byte
}{
	{"reserved bit 1", 1002, []byte{0xC1, 0x80}},
	{"reserved bit 2", 1002, []byte{0xA1, 0x80}},
	{"reserved bit 3", 1002, []byte{0x91, 0x80}},
	{"reserved bit on control frame", 1002, []byte{0xC9, 0x80}},
	{"unmasked text", 1002, []byte{0x81, 0x01, 'a'}},
	{"unmasked ping", 1002, []byte{0x89, 0x00}},
	{"unmasked close", 1002, []byte{0x88, 0x00}},
	{"opcode 3", 1002, []byte{0x83, 0x80}},
	{"opcode 7", 1002, []byte{0x87, 0x80}},
	{"opcode 11", 1002, []byte{0x8B, 0x80}},
	{"opcode 15", 1002, []byte{0x8F, 0x80}},
	{"continuation first", 1002, frame(true, transport.OpContinuation, "x")},
	{"continuation after a message", 1002, append(text("a"), frame(true, transport.OpContinuation, "x")...)},
	{"text inside a message", 1002, append(frame(false, transport.OpText, "a"), text("b")...)},
	{"binary inside a message", 1002, append(frame(false, transport.OpText, "a"), frame(true, transport.OpBinary, "b")...)},
	{"fragmented ping", 1002, frame(false, transport.OpPing, "")},
	{"fragmented close", 1002, frame(false, transport.OpClose, "")},
	{"ping of 126 bytes", 1002, frame(true, transport.OpPing, strings.Repeat("p", 126))},
	{"close of 126 bytes", 1002, frame(true, transport.OpClose, strings.Repeat("p", 126))},
	{"ping with a long length", 1002, []byte{0x89, 0xFE, 0, 1, 0, 0, 0, 0, 0}},
	{"close of 1 byte", 1002, frame(true, transport.OpClose, "\x03")},
	{"close code 0", 1002, frame(true, transport.OpClose, "\x00\x00")},
	{"close code 999", 1002, closeFrame(999, "")},
	{"close code 1004", 1002, closeFrame(1004, "")},
	{"close code 1005", 1002, closeFrame(1005, "")},
	{"close code 1006", 1002, closeFrame(1006, "")},
	{"close code 1015", 1002, closeFrame(1015, "")},
	{"close code 2999", 1002, closeFrame(2999, "")},
	{"close code 5000", 1002, closeFrame(5000, "")},
	{"close reason", 1007, closeFrame(1000, "\xff")},
	{"text", 1007, text("\xc0\xaf")},
	{"text with surrogate", 1007, text("\xed\xa0\x80")},
	{"text cut off", 1007, text("\xe2\x82")},
	{"fragmented text", 1007, append(frame(false, transport.OpText, "\xe2"), frame(true, transport.OpContinuation, "\x28\xa1")...)},
	{"message too big", 1009, []byte{0x82, 0xFF, 0, 0, 0, 0, 0, 0x0F, 0x42, 0x41}},
	{"length beyond all limits", 1009, []byte{0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
	{"length with the highest bit", 1009, []byte{0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
	{"fragments too big", 1009, append(frame(false, transport.OpBinary, strings.Repeat("b", 900_000)),
		0x00, 0xFF, 0, 0, 0, 0, 0, 0x01, 0x86, 0xA1)},
	{"too many fragments", 1008, append(frame(false, transport.OpText, ""),
		bytes.Repeat(frame(false, transport.OpContinuation, "x"), maxFragments)...)},
}

func TestFeedViolations(t *testing.T) {
	for _, v := range violations {
		for _, lengths := range [][]byte{nil, bytes.Repeat([]byte{1}, len(v.input))} {
			got := feedSplit(t, 1e6, append(v.input, text("ignored")...), lengths)
			if want := closeAnswer(v.code, ""); !bytes.Equal(got.answer, want) {
				t.Errorf("%s: answer % x, want % x", v.name, got.answer, want)
			}
			if n := len(got.events); n > 0 && got.events[n-1] == "false 69676e6f726564" {
				t.Errorf("%s: goes on", v.name)
			}
		}
	}
}

func TestFeedAtTheLimits(t *testing.T) {
	input := slices.Concat(
		text(strings.Repeat("a", 1000)),
		frame(false, transport.OpText, strings.Repeat("b", 999)), frame(true, transport.OpContinuation, "c"),
		frame(false, transport.OpText, ""), bytes.Repeat(frame(false, transport.OpContinuation, ""), maxFragments-2),
		frame(true, transport.OpContinuation, ""),
		text(strings.Repeat("d", 1000)))
	if got := feedSplit(t, 1000, input, nil); len(got.events) != 4 || len(got.answer) != 0 {
		t.Errorf("%d messages, answer % x", len(got.events), got.answer)
	}
}

// TestFeedIsLinear feeds a large message in small pieces: this takes seconds if the pieces are copied more than a
// few times.
func TestFeedIsLinear(t *testing.T) {
	const size = 16 << 20
	message := frame(true, transport.OpBinary, strings.Repeat("x", size))
	tr := &transcriber{sink: sink{owner: &Server{options: Options{MaxMessageBytes: size}}}}
	c := &Conn{by: carriedBy(tr), handler: &tr.sink}
	allocated := testing.AllocsPerRun(1, func() {
		for piece := range slices.Chunk(bytes.Clone(message), 1000) {
			c.feed(piece)
		}
	})
	if c.in != nil || c.has(closing) {
		t.Error("message is not complete")
	}
	if allocated > 200 {
		t.Errorf("%v allocations", allocated)
	}
}

func FuzzFeed(f *testing.F) {
	f.Add(script, []byte{1, 2, 3, 4, 5})
	for _, v := range violations {
		if len(v.input) < 1000 {
			f.Add(v.input, []byte{1, 1, 1, 1, 1, 1, 1, 1, 1})
		}
	}
	f.Add(slices.Concat(frame(false, transport.OpText, "ab"), frame(true, transport.OpPing, "p"), frame(true, transport.OpContinuation, "cd")), []byte{7, 0, 3})
	f.Fuzz(func(t *testing.T, input, lengths []byte) {
		compare(t, 4096, input, lengths)
	})
}

func BenchmarkFeed(b *testing.B) {
	for _, size := range []int{16, 128, 1024, 65536} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			message := text(strings.Repeat("x", size))
			s := &sink{owner: &Server{options: Options{MaxMessageBytes: 1e6}}}
			c := &Conn{by: carriedBy(s), handler: s}
			piece := make([]byte, len(message))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				copy(piece, message)
				c.feed(piece)
			}
		})
	}
}
