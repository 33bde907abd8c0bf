//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/myriad-rt/myriad/bench/internal/gen"
)

// burstSize is the number of events sent in one direction per answered event, which confirms their arrival.
const burstSize = 16

// inward is a load of events from clients. Each client sends bursts; only the last event of a burst is acknowledged.
type inward struct {
	common
	burst  []byte // the frames without acknowledgement
	fence  *ack
	before int64 // the server's count at the start
	bursts int64
}

func newInward(f *flags) *inward {
	event := slices.Concat([]byte(`42["hit","`), filler(f.payload), []byte(`"]`))
	frame := gen.AppendFrame(nil, event, false)
	return &inward{burst: bytes.Repeat(frame, burstSize-1), fence: newAck(f, plainAck)}
}

func (s *inward) prepare(l *gen.Loop) error {
	s.loop = l
	s.fence.loop = l
	answer, err := s.ask(l.Clients[0], `["hits"]`)
	if err == nil {
		s.before, err = atoi(answer)
	}
	return err
}

func (s *inward) start() {
	for _, c := range s.loop.Clients {
		s.send(c)
	}
}

func (s *inward) send(c *gen.Conn) {
	s.bursts++
	s.waiting++
	c.Write(s.burst)
	s.fence.send(c)
}

func (s *inward) Message(c *gen.Conn, m []byte, isBinary bool) error {
	if s.asked {
		return s.answered(m)
	}
	if err := s.fence.check(c, m, isBinary); err != nil {
		return err
	}
	s.fence.waiting--
	s.waiting--
	s.ops += burstSize
	if !s.stopping {
		s.send(c)
	}
	return nil
}

func (s *inward) verify(l *gen.Loop) error {
	answer, err := s.ask(l.Clients[0], `["hits"]`)
	if err != nil {
		return err
	}
	after, err := atoi(answer)
	if err != nil {
		return err
	}
	if got, want := after-s.before, s.bursts*(burstSize-1); got != want {
		return fmt.Errorf("the server has had %d events of %d", got, want)
	}
	return nil
}

// outward is a load of events to single clients. Each client requests one burst at a time.
type outward struct {
	common
	template *gen.Template
	sent     field
	want     []byte
	expected field
	seqs     []uint32
	missing  []int // of the burst, by client
}

func newOutward(f *flags) *outward {
	data := filler(f.payload)
	event := slices.Concat(fmt.Appendf(nil, `42["burst",{"count":%d,"data":"`, burstSize), data, []byte(`"}]`))
	want := slices.Concat([]byte(`42["msg","`), data, []byte(`"]`))
	return &outward{
		template: gen.NewTemplate(event, false),
		sent:     fieldOf(event, data, `"}]`),
		want:     want,
		expected: fieldOf(want, data, `"]`),
		seqs:     make([]uint32, f.clients),
		missing:  make([]int, f.clients),
	}
}

func (s *outward) start() {
	for _, c := range s.loop.Clients {
		s.send(c)
	}
}

func (s *outward) send(c *gen.Conn) {
	s.seqs[c.Index]++
	s.missing[c.Index] = burstSize
	s.waiting += burstSize
	s.sent.put(s.template, uint32(c.Index), s.seqs[c.Index])
	c.Write(s.template.Bytes())
}

func (s *outward) Message(c *gen.Conn, m []byte, isBinary bool) error {
	s.expected.putPlain(s.want, uint32(c.Index), s.seqs[c.Index])
	if isBinary || s.missing[c.Index] == 0 || !isEvent(m, s.want) {
		return unexpected(m)
	}
	s.ops++
	s.waiting--
	s.missing[c.Index]--
	if s.missing[c.Index] == 0 && !s.stopping {
		s.send(c)
	}
	return nil
}

// broadcast is a load of events to all clients, one at a time. The next is sent when all clients have received the last.
type broadcast struct {
	common
	template *gen.Template
	sent     field
	want     []byte
	expected field
	seq      uint32
	seen     []uint32 // the last one, by client
	stalled  int
	readers  []*gen.Conn
}

func newBroadcast(f *flags) *broadcast {
	data := filler(f.payload)
	event := slices.Concat([]byte(`42["bcast","`), data, []byte(`"]`))
	want := slices.Concat([]byte(`42["msg","`), data, []byte(`"]`))
	return &broadcast{
		template: gen.NewTemplate(event, false),
		sent:     fieldOf(event, data, `"]`),
		want:     want,
		expected: fieldOf(want, data, `"]`),
		seen:     make([]uint32, f.clients),
		stalled:  f.stalled,
	}
}

// prepare lets clients stall that are spread over all.
func (s *broadcast) prepare(l *gen.Loop) error {
	s.loop = l
	if err := s.settle(l); err != nil {
		return err
	}
	for i, c := range l.Clients {
		if s.stalled > 0 && i%(len(l.Clients)/s.stalled) == 1 {
			c.Stall()
		} else {
			s.readers = append(s.readers, c)
		}
	}
	return nil
}

func (s *broadcast) start() { s.send() }

func (s *broadcast) send() {
	s.seq++
	from := s.readers[int(s.seq)%len(s.readers)]
	s.sent.put(s.template, uint32(from.Index), s.seq)
	s.expected.putPlain(s.want, uint32(from.Index), s.seq)
	s.waiting = len(s.readers)
	from.Write(s.template.Bytes())
}

func (s *broadcast) Message(c *gen.Conn, m []byte, isBinary bool) error {
	if s.asked {
		return s.answered(m)
	}
	if isBinary || s.seen[c.Index] != s.seq-1 || !isEvent(m, s.want) {
		return unexpected(m)
	}
	s.seen[c.Index] = s.seq
	s.ops++
	s.waiting--
	if s.waiting == 0 && !s.stopping {
		s.send()
	}
	return nil
}

// rooms is a load of events to many rooms at once. Each room has one event in flight. Its members take turns to send it.
type rooms struct {
	common
	template *gen.Template
	room     int // offset of the room's number
	sent     field
	want     []byte
	expected field
	size     int
	seqs     []uint32 // by room
	missing  []int    // by room
	seen     []uint32 // by client
}

func newRooms(f *flags) *rooms {
	const start = `42["room",{"room":"r`
	data := filler(f.payload)
	event := slices.Concat([]byte(start+`000000","data":"`), data, []byte(`"}]`))
	want := slices.Concat([]byte(`42["msg","`), data, []byte(`"]`))
	n := (f.clients + f.room - 1) / f.room
	return &rooms{
		template: gen.NewTemplate(event, false),
		room:     len(start),
		sent:     fieldOf(event, data, `"}]`),
		want:     want,
		expected: fieldOf(want, data, `"]`),
		size:     f.room,
		seqs:     make([]uint32, n),
		missing:  make([]int, n),
		seen:     make([]uint32, f.clients),
	}
}

func (s *rooms) prepare(l *gen.Loop) error {
	s.loop = l
	return s.joinRooms(l, func(client int) int { return client / s.size })
}

func (s *rooms) start() {
	for r := range s.seqs {
		s.send(r)
	}
}

// send sends the next event to room r.
func (s *rooms) send(r int) {
	members := s.loop.Clients[r*s.size : min((r+1)*s.size, len(s.loop.Clients))]
	s.seqs[r]++
	s.missing[r] = len(members)
	s.waiting += len(members)
	s.template.Digits(s.room, 6, uint32(r))
	s.sent.put(s.template, uint32(r), s.seqs[r])
	members[int(s.seqs[r])%len(members)].Write(s.template.Bytes())
}

func (s *rooms) Message(c *gen.Conn, m []byte, isBinary bool) error {
	if s.asked {
		return s.answered(m)
	}
	r := c.Index / s.size
	s.expected.putPlain(s.want, uint32(r), s.seqs[r])
	if isBinary || s.seen[c.Index] != s.seqs[r]-1 || !isEvent(m, s.want) {
		return unexpected(m)
	}
	s.seen[c.Index] = s.seqs[r]
	s.ops++
	s.waiting--
	s.missing[r]--
	if s.missing[r] == 0 && !s.stopping {
		s.send(r)
	}
	return nil
}

// churn is clients that join a room and leave it again, over and over, each step acknowledged.
type churn struct {
	common
	steps [2]*gen.Template // join, leave
	room  [2]int           // offsets of the room's number
	want  []byte
	seqs  []uint32
}

// churnRooms is how many rooms the clients of churn visit.
const churnRooms = 1000

func newChurn(f *flags) *churn {
	s := &churn{want: []byte("43000000[true]"), seqs: make([]uint32, f.clients)}
	for i, start := range []string{`42000000["join","r`, `42000000["leave","r`} {
		s.steps[i] = gen.NewTemplate([]byte(start+`000000"]`), false)
		s.room[i] = len(start)
	}
	return s
}

func (s *churn) start() {
	for _, c := range s.loop.Clients {
		s.send(c)
	}
}

func (s *churn) send(c *gen.Conn) {
	seq := s.seqs[c.Index]
	step := seq % 2
	t := s.steps[step]
	t.Digits(idAt, idWidth, firstID+seq%ids)
	t.Digits(s.room[step], 6, (uint32(c.Index)*7+seq/2)%churnRooms)
	s.waiting++
	c.Write(t.Bytes())
}

func (s *churn) Message(c *gen.Conn, m []byte, isBinary bool) error {
	gen.Digits(s.want, idAt, idWidth, firstID+s.seqs[c.Index]%ids)
	if isBinary || !bytes.Equal(m, s.want) {
		return unexpected(m)
	}
	s.seqs[c.Index]++
	s.ops++
	s.waiting--
	if !s.stopping {
		s.send(c)
	}
	return nil
}
