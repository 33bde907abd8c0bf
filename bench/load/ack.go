//go:build linux

package main

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/gen"
)

// Acknowledgement ids have six digits, so that all messages have the same length.
const (
	firstID = 100_000
	ids     = 900_000
	idWidth = 6
	idAt    = len("42")
)

// ack is a load of acknowledged events. Each client has one in flight.
type ack struct {
	common
	template *gen.Template
	sent     field
	want     []byte // the answer
	expected field
	seqs     []uint32
}

// ackForm is the text of the events and answers of ack, before and after the payload.
type ackForm struct{ before, after, wantBefore, wantAfter string }

var (
	plainAck = ackForm{`42000000["echo","`, `"]`, `43000000["`, `"]`}
	typedAck = ackForm{
		`42000000["greet",{"room":"lobby","text":"`, `","n":12345}]`,
		`43000000[{"room":"lobby","text":"`, `","n":12345}]`,
	}
)

func newAck(f *flags, form ackForm) *ack {
	data := filler(f.payload)
	event := slices.Concat([]byte(form.before), data, []byte(form.after))
	want := slices.Concat([]byte(form.wantBefore), data, []byte(form.wantAfter))
	return &ack{
		template: gen.NewTemplate(event, false),
		sent:     fieldOf(event, data, form.after),
		want:     want,
		expected: fieldOf(want, data, form.wantAfter),
		seqs:     make([]uint32, f.clients),
	}
}

func (s *ack) start() {
	for _, c := range s.loop.Clients {
		s.send(c)
	}
}

func (s *ack) send(c *gen.Conn) {
	s.seqs[c.Index]++
	seq := s.seqs[c.Index]
	s.template.Digits(idAt, idWidth, firstID+seq%ids)
	s.sent.put(s.template, uint32(c.Index), seq)
	s.waiting++
	c.Write(s.template.Bytes())
}

func (s *ack) Message(c *gen.Conn, m []byte, isBinary bool) error {
	if err := s.check(c, m, isBinary); err != nil {
		return err
	}
	s.waiting--
	s.ops++
	if !s.stopping {
		s.send(c)
	}
	return nil
}

// check compares an acknowledgement with the expected one.
func (s *ack) check(c *gen.Conn, m []byte, isBinary bool) error {
	seq := s.seqs[c.Index]
	gen.Digits(s.want, idAt, idWidth, firstID+seq%ids)
	s.expected.putPlain(s.want, uint32(c.Index), seq)
	if isBinary || !bytes.Equal(m, s.want) || s.waiting == 0 {
		return unexpected(m)
	}
	return nil
}

// latency is acknowledged events at a rate: each client sends one every second.
type latency struct {
	*ack
	began time.Time
	next  int     // events that were due so far
	late  int     // the event before which an answer was missed
	sent  []int64 // by client: when, in ns since began; 0 while nothing is under way
	took  []int64 // ns
}

func newLatency(f *flags) *latency {
	return &latency{ack: newAck(f, plainAck), sent: make([]int64, f.clients)}
}

func (s *latency) start() { s.began = time.Now() }

// pace returns a function that sends the events that are due and never reports that it is done.
func (s *latency) pace() func() bool {
	return func() bool {
		clients := s.loop.Clients
		now := time.Since(s.began)
		for due := int(now * time.Duration(len(clients)) / time.Second); s.next < due; s.next++ {
			c := clients[s.next%len(clients)]
			if sent := s.sent[c.Index]; sent != 0 {
				// If this process itself was late, the answer still has time or waits to be read.
				if now-time.Duration(sent) >= time.Second {
					if s.late == s.next {
						s.loop.Fail(errors.New("no answer within a second"))
					}
					s.late = s.next
				}
				return false
			}
			s.sent[c.Index] = int64(time.Since(s.began))
			s.send(c)
		}
		return false
	}
}

func (s *latency) Message(c *gen.Conn, m []byte, isBinary bool) error {
	if err := s.check(c, m, isBinary); err != nil {
		return err
	}
	s.waiting--
	s.ops++
	s.took = append(s.took, int64(time.Since(s.began))-s.sent[c.Index])
	s.sent[c.Index] = 0
	return nil
}

func (s *latency) reset() { s.took = s.took[:0] }

func (s *latency) report(r *record) {
	slices.Sort(s.took)
	at := func(p float64) float64 {
		return float64(s.took[int(math.Ceil(p*float64(len(s.took))))-1]) / 1e3
	}
	r.P50, r.P99, r.Max = at(0.5), at(0.99), at(1)
}

// packedAck is ack in MessagePack. The order of fields depends on the server, so an answer is checked for its contents and
// length.
type packedAck struct {
	common
	template *gen.Template
	sent     field
	idAt     int
	want     []byte // the argument
	seqs     []uint32
	size     int // of an answer, in bytes
}

func newPackedAck(f *flags) *packedAck {
	data := filler(f.payload)
	arg := appendPackedString(nil, data)
	event := []byte("\x84\xa4type\x02\xa4data\x92\xa4echo")
	event = append(event, arg...)
	at := fieldOf(event, data, "")
	event = append(event, "\xa2id\xce"...)
	id := len(event)
	event = append(event, "\x00\x00\x00\x00\xa3nsp\xa1/"...)
	return &packedAck{
		template: gen.NewTemplate(event, true),
		sent:     at,
		idAt:     id,
		want:     arg,
		seqs:     make([]uint32, f.clients),
	}
}

func appendPackedString(dst, s []byte) []byte {
	switch n := len(s); {
	case n < 1<<5:
		dst = append(dst, 0xA0|byte(n))
	case n < 1<<8:
		dst = append(dst, 0xD9, byte(n))
	case n < 1<<16:
		dst = append(dst, 0xDA, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0xDB, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, s...)
}

func (s *packedAck) start() {
	for _, c := range s.loop.Clients {
		s.send(c)
	}
}

func (s *packedAck) send(c *gen.Conn) {
	s.seqs[c.Index]++
	seq := s.seqs[c.Index]
	s.template.Uint32(s.idAt, firstID+seq%ids)
	s.sent.put(s.template, uint32(c.Index), seq)
	s.waiting++
	c.Write(s.template.Bytes())
}

func (s *packedAck) Message(c *gen.Conn, m []byte, isBinary bool) error {
	seq := s.seqs[c.Index]
	id := firstID + seq%ids
	gen.Digits(s.want, len(s.want)-s.payload(), tagWidth, uint32(c.Index))
	gen.Digits(s.want, len(s.want)-s.payload()+tagWidth, tagWidth, seq)
	if s.size == 0 {
		s.size = len(m)
	}
	packedID := []byte{0xA2, 'i', 'd', 0xCE, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
	if !isBinary || len(m) != s.size || len(m) > len(s.want)+64 || s.waiting == 0 ||
		!bytes.Contains(m, s.want) || !bytes.Contains(m, packedID) || !bytes.Contains(m, []byte("\xa4type\x03")) {
		return unexpected(m)
	}
	s.waiting--
	s.ops++
	if !s.stopping {
		s.send(c)
	}
	return nil
}

// payload returns the length of the argument without its header.
func (s *packedAck) payload() int {
	switch s.want[0] {
	case 0xD9:
		return len(s.want) - 2
	case 0xDA:
		return len(s.want) - 3
	case 0xDB:
		return len(s.want) - 5
	}
	return len(s.want) - 1
}
