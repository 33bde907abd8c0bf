//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/myriad-rt/myriad/bench/internal/gen"
)

// chatRooms is the number of the first room for talking. Rooms with lower numbers are visited.
const chatRooms = churnRooms

// cycle is the sequence of actions of a client of chat, which it repeats: t reports that it is typing, s says something to
// its room, a asks the server something, v joins another room or leaves it again.
const cycle = "tsstssatsv"

// chat is a mix of events like that of a chat, in small rooms. A client continues when it has received its own message or
// its answer. Operations are events of clients. Each message is delivered to the whole room.
type chat struct {
	common
	template *gen.Template
	room     int // offset of the room's number
	sent     field
	want     []byte
	expected field

	typing     *gen.Template
	typingRoom int
	wantTyping []byte

	questions *ack
	visits    *churn

	size  int
	steps []uint32   // by client
	said  []uint32   // by client: how many messages
	heard [][]uint32 // by client, then by sender

	typed, sawTyping []int // by client: how often it told that it is typing, and was told so by others
}

func newChat(f *flags) *chat {
	const say, typing = `42["room",{"room":"r`, `42["typing","r`
	data := filler(f.payload)
	event := slices.Concat([]byte(say+`000000","data":"`), data, []byte(`"}]`))
	want := slices.Concat([]byte(`42["msg","`), data, []byte(`"]`))
	s := &chat{
		template:   gen.NewTemplate(event, false),
		room:       len(say),
		sent:       fieldOf(event, data, `"}]`),
		want:       want,
		expected:   fieldOf(want, data, `"]`),
		typing:     gen.NewTemplate([]byte(typing+`000000"]`), false),
		typingRoom: len(typing),
		wantTyping: []byte(typing + `000000"]`),
		questions:  newAck(f, plainAck),
		visits:     newChurn(f),
		size:       f.room,
		steps:      make([]uint32, f.clients),
		said:       make([]uint32, f.clients),
		heard:      make([][]uint32, f.clients),
		typed:      make([]int, f.clients),
		sawTyping:  make([]int, f.clients),
	}
	for i := range s.heard {
		s.heard[i] = make([]uint32, f.room)
	}
	return s
}

func (s *chat) prepare(l *gen.Loop) error {
	s.loop, s.questions.loop, s.visits.loop = l, l, l
	return s.joinRooms(l, s.roomOf)
}

func (s *chat) roomOf(client int) int { return chatRooms + client/s.size }

func (s *chat) start() {
	for _, c := range s.loop.Clients {
		s.steps[c.Index] = uint32(c.Index) // not all do the same at once
		s.send(c)
	}
}

func (s *chat) stepOf(c *gen.Conn) byte { return cycle[s.steps[c.Index]%uint32(len(cycle))] }

// send performs the next action of c, and the following ones as long as there is nothing to wait for.
func (s *chat) send(c *gen.Conn) {
	for s.stepOf(c) == 't' {
		s.typing.Digits(s.typingRoom, 6, uint32(s.roomOf(c.Index)))
		c.Write(s.typing.Bytes())
		s.steps[c.Index]++
		s.typed[c.Index]++
		s.ops++
	}
	s.waiting++
	switch s.stepOf(c) {
	case 's':
		s.said[c.Index]++
		s.template.Digits(s.room, 6, uint32(s.roomOf(c.Index)))
		s.sent.put(s.template, uint32(c.Index), s.said[c.Index])
		c.Write(s.template.Bytes())
	case 'a':
		s.questions.send(c)
	case 'v':
		s.visits.send(c)
	}
}

func (s *chat) Message(c *gen.Conn, m []byte, isBinary bool) error {
	if s.asked {
		return s.answered(m)
	}
	switch {
	case isBinary:
		return unexpected(m)
	case bytes.HasPrefix(m, []byte(`42["typing"`)):
		gen.Digits(s.wantTyping, s.typingRoom, 6, uint32(s.roomOf(c.Index)))
		if !isEvent(m, s.wantTyping) {
			return unexpected(m)
		}
		s.sawTyping[c.Index]++
		return nil
	case bytes.HasPrefix(m, []byte(`42`)):
		return s.hear(c, m)
	}
	var err error
	switch s.stepOf(c) {
	case 'a':
		if err = s.questions.check(c, m, isBinary); err == nil {
			s.questions.waiting--
		}
	case 'v':
		s.visits.stopping = true
		err = s.visits.Message(c, m, isBinary)
	default:
		err = unexpected(m)
	}
	if err == nil {
		s.next(c)
	}
	return err
}

// hear handles a message to the room of c, which must be the next of one of its members.
func (s *chat) hear(c *gen.Conn, m []byte) error {
	var from uint32
	if len(m) < len(s.want) {
		return unexpected(m)
	}
	for _, d := range m[s.expected.tag : s.expected.tag+tagWidth] {
		from = from*10 + uint32(d-'0')
	}
	member := int(from) - c.Index/s.size*s.size
	if member < 0 || member >= s.size || int(from) >= len(s.said) {
		return unexpected(m)
	}
	s.heard[c.Index][member]++
	s.expected.putPlain(s.want, from, s.heard[c.Index][member])
	if !isEvent(m, s.want) {
		return unexpected(m)
	}
	if int(from) == c.Index {
		s.next(c)
	}
	return nil
}

// next goes on with c after a step is complete.
func (s *chat) next(c *gen.Conn) {
	s.waiting--
	s.ops++
	s.steps[c.Index]++
	if !s.stopping {
		s.send(c)
	}
}

// verify checks that all clients have received every message of their room, and at most as many typing events as were sent,
// because those are volatile and may be lost.
func (s *chat) verify(l *gen.Loop) error {
	typed := make([]int, len(s.typed)/s.size+1) // by room
	for i, n := range s.typed {
		typed[i/s.size] += n
	}
	for _, c := range l.Clients {
		if saw, most := s.sawTyping[c.Index], typed[c.Index/s.size]-s.typed[c.Index]; saw > most {
			return fmt.Errorf("client %d was told %d times that another is typing, which was so %d times", c.Index, saw, most)
		}
		for member, heard := range s.heard[c.Index] {
			from := c.Index/s.size*s.size + member
			if from < len(s.said) && heard != s.said[from] {
				return fmt.Errorf("client %d has heard %d messages of client %d, which has said %d", c.Index, heard, from, s.said[from])
			}
		}
	}
	return nil
}
