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
	// prepare sets up the load, for example its rooms.
	prepare(l *gen.Loop) error
	// start starts the load. stop lets operations in flight complete. pending returns the number of outstanding answers.
	start()
	stop()
	pending() int
	// done is how many operations are complete. reset is called when the measurement begins.
	done() int64
	reset()
	// verify performs the checks that are possible only at the end.
	verify(l *gen.Loop) error
	// report adds the figures of this scenario to r.
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

// common is the part that all scenarios share.
type common struct {
	loop     *gen.Loop
	stopping bool
	ops      int64
	waiting  int // outstanding answers

	asked  bool // ask waits for an answer
	answer []byte
}

func (s *common) prepare(l *gen.Loop) error { s.loop = l; return nil }
func (s *common) stop()                     { s.stopping = true }
func (s *common) pending() int              { return s.waiting }
func (s *common) done() int64               { return s.ops }
func (s *common) reset()                    {}
func (s *common) verify(*gen.Loop) error    { return nil }
func (s *common) report(*record)            {}

// askID is the acknowledgement id of ask. Scenarios do not use it.
const askID = "7"

// ask sends an event and returns the argument of its acknowledgement. The scenario's Message must pass unknown messages to
// answered.
func (s *common) ask(c *gen.Conn, event string) (string, error) {
	s.asked, s.answer = true, nil
	c.Write(gen.AppendFrame(nil, []byte("42"+askID+event), false))
	if err := s.loop.Until(answerTimeout, func() bool { return !s.asked }); err != nil {
		return "", fmt.Errorf("%s: %w", event, err)
	}
	return string(s.answer), nil
}

// answered handles the answer to ask.
func (s *common) answered(m []byte) error {
	const prefix = "43" + askID + "["
	if !s.asked || !bytes.HasPrefix(m, []byte(prefix)) || m[len(m)-1] != ']' {
		return unexpected(m)
	}
	s.asked, s.answer = false, bytes.Clone(m[len(prefix):len(m)-1])
	return nil
}

// settle waits until the server has run its connection handlers, which add each client to the room "all". CONNECT does not
// wait for them.
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

// tag is the start of a payload: two numbers of eight digits that identify the event.
const (
	tagWidth  = 8
	tagLength = 2 * tagWidth
)

// filler returns n bytes of text for a payload, but at least tagLength. The first tagLength bytes are for the tag.
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

// put writes the tag to a message to be sent.
func (f field) put(t *gen.Template, a, b uint32) {
	t.Digits(f.tag, tagWidth, a)
	t.Digits(f.tag+tagWidth, tagWidth, b)
}

// putPlain writes the tag to an expected message.
func (f field) putPlain(m []byte, a, b uint32) {
	gen.Digits(m, f.tag, tagWidth, a)
	gen.Digits(m, f.tag+tagWidth, tagWidth, b)
}

// isEvent reports whether m is the event want, ignoring the offset after the arguments that a server with recovery
// adds.
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

// verify checks that each client got a ping per interval, give or take one.
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
