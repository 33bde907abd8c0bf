//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/gen"
)

// scenario is a kind of load.
type scenario interface {
	gen.Handler
	// prepare sets up what the load needs, rooms for instance.
	prepare(l *gen.Loop) error
	// start begins the load, stop lets what is under way come to its end. pending is how many answers are to come.
	start()
	stop()
	pending() int
	// done is how many operations are complete. reset is called when the measurement begins.
	done() int64
	reset()
	// verify checks at the end what could not be checked on the way.
	verify(l *gen.Loop) error
	// report adds to r what only this scenario has.
	report(r *record)
}

func newScenario(f *flags) (scenario, error) {
	switch f.scenario {
	case "idle", "connect":
		return &idle{}, nil
	case "ack":
		if f.msgpack {
			return newPackedAck(f), nil
		}
		return newAck(f, plainAck), nil
	case "storm":
		return newStorm(f), nil
	case "typed":
		return newAck(f, typedAck), nil
	case "latency":
		return newLatency(f), nil
	case "in":
		return newInward(f), nil
	case "out":
		return newOutward(f), nil
	case "broadcast":
		return newBroadcast(f), nil
	case "rooms":
		return newRooms(f), nil
	case "churn":
		return newChurn(f), nil
	case "heartbeat":
		return newHeartbeat(f), nil
	case "chat":
		return newChat(f), nil
	}
	return nil, fmt.Errorf("unknown scenario %q", f.scenario)
}

// common is what scenarios share.
type common struct {
	loop     *gen.Loop
	stopping bool
	ops      int64
	waiting  int // answers to come

	asked  bool // by ask
	answer []byte
}

func (s *common) prepare(l *gen.Loop) error { s.loop = l; return nil }
func (s *common) stop()                     { s.stopping = true }
func (s *common) pending() int              { return s.waiting }
func (s *common) done() int64               { return s.ops }
func (s *common) reset()                    {}
func (s *common) verify(*gen.Loop) error    { return nil }
func (s *common) report(*record)            {}

// askID is the id of the acknowledgement that ask waits for; no scenario uses it.
const askID = "7"

// ask sends an event and returns the acknowledgement's argument. The scenario's Message gives what it does not know to
// answered.
func (s *common) ask(c *gen.Conn, event string) (string, error) {
	s.asked, s.answer = true, nil
	c.Write(gen.AppendFrame(nil, []byte("42"+askID+event), false))
	if err := s.loop.Until(answerTimeout, func() bool { return !s.asked }); err != nil {
		return "", fmt.Errorf("%s: %w", event, err)
	}
	return string(s.answer), nil
}

// answered takes the answer to ask.
func (s *common) answered(m []byte) error {
	const prefix = "43" + askID + "["
	if !s.asked || !bytes.HasPrefix(m, []byte(prefix)) || m[len(m)-1] != ']' {
		return unexpected(m)
	}
	s.asked, s.answer = false, bytes.Clone(m[len(prefix):len(m)-1])
	return nil
}

// settle waits until the server has run what it runs for a client that has connected: it joins the room "all" there, which
// CONNECT does not wait for.
func (s *common) settle(l *gen.Loop) error {
	for _, c := range l.Clients {
		answer, err := s.ask(c, `["echo",1]`)
		if err == nil && answer != "1" {
			err = fmt.Errorf("echo of 1: %s", answer)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// joinRooms lets each client join the room that room returns.
func (s *common) joinRooms(l *gen.Loop, room func(client int) int) error {
	for _, c := range l.Clients {
		answer, err := s.ask(c, fmt.Sprintf(`["join","r%06d"]`, room(c.Index)))
		if err == nil && answer != "true" {
			err = fmt.Errorf("joining a room: %s", answer)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func unexpected(m []byte) error { return fmt.Errorf("unexpected message %.200q", m) }

// tag is the start of what events carry: two numbers of eight digits, from which it can be told whose it is.
const (
	tagWidth  = 8
	tagLength = 2 * tagWidth
)

// filler returns n bytes of text for a payload, of which the first tagLength are for the tag. It is no shorter than the tag.
func filler(n int) []byte {
	const text = "0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ."
	n = max(n, tagLength)
	return bytes.Repeat([]byte(text), n/len(text)+1)[:n]
}

// field is a message with a tag in it, as it is sent or expected.
type field struct{ tag int }

// fieldOf returns where the payload starts in a message that ends in it and end.
func fieldOf(message, payload []byte, end string) field {
	return field{len(message) - len(end) - len(payload)}
}

// put writes the tag to what is to be sent.
func (f field) put(t *gen.Template, a, b uint32) {
	t.Digits(f.tag, tagWidth, a)
	t.Digits(f.tag+tagWidth, tagWidth, b)
}

// putPlain writes the tag to what is expected.
func (f field) putPlain(m []byte, a, b uint32) {
	gen.Digits(m, f.tag, tagWidth, a)
	gen.Digits(m, f.tag+tagWidth, tagWidth, b)
}

// isEvent reports whether m is the event want, apart from an offset behind the arguments, which a server that keeps
// sessions for recovery adds.
func isEvent(m, want []byte) bool {
	if bytes.Equal(m, want) {
		return true
	}
	args := want[:len(want)-1]
	rest, ok := bytes.CutPrefix(m, args)
	return ok && len(rest) > 4 && rest[0] == ',' && rest[1] == '"' && bytes.HasSuffix(rest, []byte(`"]`)) &&
		bytes.IndexByte(rest[2:], '"') == len(rest)-4
}

// idle does nothing: connecting, and the memory of idle connections, are measured with every scenario.
type idle struct{ common }

func (*idle) start() {}

func (*idle) Message(_ *gen.Conn, m []byte, _ bool) error { return unexpected(m) }

// heartbeat only answers pings.
type heartbeat struct {
	common
	interval time.Duration
	began    time.Time
	before   []int // pings of each client
}

func newHeartbeat(f *flags) *heartbeat { return &heartbeat{interval: f.pingInterval} }

func (s *heartbeat) start() {
	s.began = time.Now()
	for _, c := range s.loop.Clients {
		s.before = append(s.before, c.Pings)
	}
}

func (s *heartbeat) done() int64 { return int64(s.loop.Pings) }

func (*heartbeat) Message(_ *gen.Conn, m []byte, _ bool) error { return unexpected(m) }

// verify wants each client to have been asked at each interval, give or take one.
func (s *heartbeat) verify(l *gen.Loop) error {
	elapsed := time.Since(s.began)
	want := int(elapsed / s.interval)
	for i, c := range l.Clients {
		if got := c.Pings - s.before[i]; got < want*9/10-1 || got > want+1 {
			return fmt.Errorf("client %d: %d pings in %s", c.Index, got, elapsed.Round(time.Millisecond))
		}
	}
	return nil
}

// atoi is strconv.Atoi for the answers of the server.
func atoi(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("not a number: %.100q", s)
	}
	return n, nil
}
