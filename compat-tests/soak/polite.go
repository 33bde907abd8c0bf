package soak

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// step is one thing that a well-behaved client does.
type step struct {
	name   string
	weight int
	run    func(c *client) error
}

var steps []step

func init() {
	steps = []step{
		{"numbered event", 6, func(c *client) error { return c.send(c.numbered(-1)) }},
		{"acknowledged event", 10, acknowledged},
		{"burst", 4, burst},
		{"blob", 3, blob},
		{"join rooms", 3, func(c *client) error { return c.order(order{Op: "join", N: 1 + c.rng.IntN(20), Room: c.key + "/"}) }},
		{"leave rooms", 3, func(c *client) error { return c.order(order{Op: "leave", N: 1 + c.rng.IntN(20), Room: c.key + "/"}) }},
		{"answer a question", 4, func(c *client) error { return c.order(order{Op: "ask"}) }},
		{"block a handler", 2, func(c *client) error { return c.order(order{Op: "block", N: c.rng.IntN(200)}) }},
		{"tell everyone", 3, func(c *client) error { return c.order(order{Op: "everyone", N: 1 + c.rng.IntN(8000)}) }},
		{"tell a room", 3, func(c *client) error { return c.order(order{Op: "room", N: 1 + c.rng.IntN(8000), Room: "common"}) }},
		{"tell whoever can hear", 3, func(c *client) error { return c.order(order{Op: "volatile", N: 1 + c.rng.IntN(8000)}) }},
		{"survey", 1, func(c *client) error { return c.order(order{Op: "survey", Room: "common"}) }},
		{"disconnect another", 3, func(c *client) error {
			return c.order(order{Op: "kick", N: c.rng.IntN(100), Close: c.rng.IntN(2) == 0})
		}},
		{"disconnect others", 1, func(c *client) error { return c.order(order{Op: "kick all", Close: c.rng.IntN(2) == 0}) }},
		{"fetch sockets", 1, func(c *client) error { return c.order(order{Op: "fetch", Room: quietRoom}) }},
		{"move sockets", 2, func(c *client) error { return c.order(order{Op: "move", Room: c.key + "/moved"}) }},
		{"ask servers", 1, func(c *client) error { return c.order(order{Op: "servers"}) }},
		{"child namespace", 3, childNamespace},
		{"wait", 2, func(c *client) error {
			return c.pause(between(c.rng, time.Millisecond, 300*time.Millisecond))
		}},
	}
}

// begin opens a session and joins the namespace "/".
func (c *client) begin(a auth) error {
	if err := c.open(); err != nil {
		return err
	}
	return c.enter(a)
}

func (c *client) enter(a auth) error {
	a.Key = c.key
	j, err := c.join("/", a)
	if err == nil && j.Message != "" {
		err = fmt.Errorf("CONNECT is refused: %s", j.Message)
	}
	return err
}

// order sends an order to the application and waits until it is carried out.
func (c *client) order(o order) error {
	_, err := c.call("do", o)
	return err
}

// numbered returns the next numbered event. A negative id requests no acknowledgement.
func (c *client) numbered(id int) packet { return event(id, "number", c.round.ledger.send(c.key)) }

func (c *client) numberedBatch(n int) []packet {
	packets := make([]packet, n)
	for i := range packets {
		packets[i] = c.numbered(-1)
	}
	return packets
}

// pause waits for d, or until the session ends.
func (c *client) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-c.ended:
		return &goneError{c.err}
	case <-c.round.ctx.Done():
		return errStopped
	}
}

func acknowledged(c *client) error {
	id, answer := c.expect()
	p := c.numbered(id)
	if err := c.send(p); err != nil {
		return err
	}
	args, err := wait(c, answer, "acknowledgement")
	if err != nil {
		return err
	}
	var n int
	if len(args) != 1 || json.Unmarshal(args[0], &n) != nil || !strings.HasSuffix(p.text, fmt.Sprintf(",%d]", n)) {
		return fmt.Errorf("%s is acknowledged with %s", p.text, args)
	}
	c.round.ledger.acknowledge(c.key, n)
	return nil
}

func burst(c *client) error {
	return c.send(c.numberedBatch(2 + c.rng.IntN(100))...)
}

// blob sends binary data and expects it in the acknowledgement.
func blob(c *client) error {
	data := make([]byte, 1+c.rng.IntN(min(20_000, c.maxPayload/4)))
	for i := range data {
		data[i] = byte(c.rng.Uint32())
	}
	id, answer := c.expect()
	head := packet{text: fmt.Sprintf(`451-%d["blob",{"_placeholder":true,"num":0}]`, id)}
	if err := c.send(head, packet{data: data}); err != nil {
		return err
	}
	args, err := wait(c, answer, "binary acknowledgement")
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(args) != 1 || !bytes.Equal(c.lastBlob, data) {
		return fmt.Errorf("%d bytes come back as %s with %d bytes", len(data), args, len(c.lastBlob))
	}
	return nil
}

// childNamespace joins a dynamic namespace, sends events and leaves.
func childNamespace(c *client) error {
	name := fmt.Sprintf("/child-%d", c.rng.IntN(50))
	c.visits++
	visitor := fmt.Sprintf("%s visit %d", c.key, c.visits)
	if _, err := c.join(name, auth{Key: visitor}); err != nil {
		return err
	}
	key := visitor + " of " + name
	for range 1 + c.rng.IntN(5) {
		if err := c.send(packet{text: fmt.Sprintf(`42%s,["number",%d]`, name, c.round.ledger.send(key))}); err != nil {
			return err
		}
	}
	if err := c.send(packet{text: "41" + name + ","}); err != nil {
		return err
	}
	c.round.ledger.leave(key)
	return nil
}

// politely connects, performs some random steps and leaves properly.
func politely(c *client) error {
	if err := c.begin(auth{Rooms: []string{"common"}}); err != nil {
		return err
	}
	for range 2 + c.rng.IntN(12) {
		if c.round.isStopping() {
			break
		}
		s := choose(c.rng, steps, func(s step) int { return s.weight })
		if err := s.run(c); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		c.round.soak.count(s.name, 1)
	}
	return c.leave()
}

// leave sends some last events and leaves properly, in one of several ways. All events must then be handled.
func (c *client) leave() error {
	packets := c.numberedBatch(c.rng.IntN(20))
	how := c.rng.IntN(3)
	if how == 0 {
		packets = append(packets, packet{text: "41"})
	}
	if err := c.bow(packets, how == 2); err != nil {
		return fmt.Errorf("leaving: %w", err)
	}
	c.round.ledger.leave(c.key)
	_, err := wait(c, make(chan int), "end of the session after leaving")
	var gone *goneError
	if errors.As(err, &gone) {
		return nil
	}
	return err
}

// bow sends the last packets together with the end of the session: a close packet, a close frame, or, if silently is set
// and it is a WebSocket, the end of the stream.
func (c *client) bow(packets []packet, silently bool) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.ws == nil {
		return c.postLocked(payload(append(packets, packet{text: "1"})))
	}
	b := frames(packets, c.ws.deflate)
	if !silently {
		b = appendFrame(b, 0x80|opClose, []byte{0x03, 0xE8})
	}
	if err := c.ws.writeRaw(b); err != nil || !silently {
		return err
	}
	return c.ws.closeWrite()
}
