package soak

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

var actions []action

func init() {
	onRecovery := func(p *plan) bool { return p.recovery }
	limited := func(p *plan) bool { return p.maxQueued != 0 && p.maxQueued <= 4<<20 }
	actions = []action{
		{"polite", 20, true, nil, politely},
		{"upload", 2, true, nil, upload},
		{"rooms", 1, true, nil, rooms},
		{"resume", 12, true, onRecovery, resume},
		{"never joins", 1, true, nil, neverJoins},
		{"refused", 1, true, nil, refused},
		{"panic", 2, true, nil, func(c *client) error { return endedBy(c, "panic") }},
		{"goexit", 1, true, nil, func(c *client) error { return endedBy(c, "goexit") }},
		{"quit", 2, true, nil, func(c *client) error { return endedBy(c, "quit") }},

		{"prey", 4, false, nil, prey},
		{"reset", 4, false, nil, func(c *client) error { return leaves(c, cutReset) }},
		{"cut", 3, false, nil, func(c *client) error { return leaves(c, cutClose) }},
		{"cut in a frame", 3, false, nil, func(c *client) error { return leaves(c, cutInFrame) }},
		{"flood", 3, false, nil, flood},
		{"ghost", 6, false, nil, ghost},
		{"waits for ever", 3, false, nil, waitsForEver},
		{"no acknowledgements", 3, false, nil, noAcknowledgements},
		{"gate", 2, false, nil, gateWaits},
		{"silence", 3, false, nil, silence},
		{"vanish", 4, false, nil, vanish},
		{"deaf", 2, false, limited, deaf},
		{"full", 3, false, limited, full},
		{"mute", 2, false, nil, mute},
		{"half a body", 2, false, nil, halfBody},
		{"half a head", 2, false, nil, halfHead},
		{"knock", 1, false, nil, knock},
		{"abandoned upgrade", 3, false, nil, abandonedUpgrade},
		{"overlapping polls", 1, false, nil, overlap},
		{"too large", 1, false, nil, tooLarge},
		{"ping flood", 2, false, nil, pingFlood},
		{"protocol 3", 2, false, func(p *plan) bool { return p.oldToo }, protocol3},
		{"garbage in HTTP", 2, false, nil, garbageInHTTP},
		{"garbage in a WebSocket", 2, false, nil, garbageInWebSocket},
		{"garbage in Engine.IO", 2, false, nil, garbageInEngine},
		{"garbage in Socket.IO", 3, false, nil, garbageInSocket},
	}
}

// Ways to end a connection.
const (
	cutClose = iota
	cutReset
	cutInFrame
)

// drops ends the connections without leaving properly.
func drops(c *client, how int) {
	if how == cutInFrame {
		for _, w := range c.connections() {
			b := appendFrame(nil, 0x80|opText, []byte(`42["number",0]`))
			if c.carrier == overPolling {
				b = []byte("POST " + c.target("polling") + " HTTP/1.1\r\nHost: soak\r\nContent-Length: 100\r\n\r\n42[")
			}
			_ = w.SetWriteDeadline(time.Now().Add(time.Second))
			_ = w.writeRaw(b[:1+c.rng.IntN(len(b)-1)])
		}
	}
	end := (*wire).close
	if how == cutReset {
		end = (*wire).reset
	}
	c.cut(end)
	c.round.doom(c, "cut off")
}

// warmUp connects and performs a few steps of a well-behaved client.
func (c *client) warmUp() error {
	if err := c.begin(auth{}); err != nil {
		return err
	}
	for range c.rng.IntN(4) {
		s := choose(c.rng, steps, func(s step) int { return s.weight })
		if err := s.run(c); err != nil {
			return err
		}
		c.round.soak.count(s.name, 1)
	}
	return nil
}

// leaves behaves well until its connections end.
func leaves(c *client, how int) error {
	err := c.warmUp()
	drops(c, how)
	return err
}

// crumbs returns small events. Queued, they take much more memory than on the wire.
func crumbs(n int) []packet {
	packets := make([]packet, n)
	for i := range packets {
		packets[i].text = `42["crumb"]`
	}
	return packets
}

// crumbsIn returns how many crumbs fit in a payload, at most most.
func (c *client) crumbsIn(most int) int {
	return min(most, c.maxPayload/(len(`42/still,["crumb"]`)+1)-10)
}

// flood sends thousands of events at once and leaves.
func flood(c *client) error {
	if err := c.begin(auth{}); err != nil {
		return err
	}
	packets := crumbs(c.crumbsIn(500 + c.rng.IntN(5000)))
	packets = append(packets, c.numberedBatch(50)...)
	for range 50 {
		id, _ := c.expect()
		packets = append(packets, c.numbered(id))
	}
	err := c.send(packets...)
	drops(c, c.rng.IntN(3))
	return err
}

// waiting lists the orders whose handlers wait for the client without a time limit.
var waiting = []string{"ask", "wait", "offer"}

// ghost makes a handler wait for it, sends more events than the server queues, and leaves. The handler and the session
// must end.
func ghost(c *client) error {
	c.ignores.Store(true)
	if err := c.open(); err != nil {
		return err
	}
	if _, err := c.join(stillNamespace, auth{Key: c.key}); err != nil {
		return err
	}
	packets := append([]packet{event(-1, "do", order{Op: pick(c.rng, waiting...)})}, crumbs(c.crumbsIn(6000))...)
	for i, p := range packets {
		packets[i].text = "42" + stillNamespace + "," + strings.TrimPrefix(p.text, "42")
	}
	how := c.rng.IntN(3)
	c.sending.Lock()
	if c.ws != nil {
		_ = c.ws.SetWriteDeadline(time.Now().Add(time.Second)) // the server may stop reading
		_ = c.ws.writeRaw(frames(packets, false))
		c.sending.Unlock()
	} else {
		c.sending.Unlock()
		// The server may not answer.
		if w, err := c.dial(); err == nil {
			_ = w.SetWriteDeadline(time.Now().Add(time.Second))
			_ = w.request("POST", c.target("polling"), "", payload(packets))
		}
	}
	err := c.pause(between(c.rng, time.Millisecond, 300*time.Millisecond))
	drops(c, how)
	return err
}

// waitsForEver makes a handler wait for it in vain.
func waitsForEver(c *client) error {
	c.ignores.Store(true)
	if err := c.begin(auth{}); err != nil {
		return err
	}
	if err := c.emit("do", order{Op: pick(c.rng, waiting...)}); err != nil {
		return err
	}
	if err := c.send(c.numberedBatch(c.rng.IntN(50))...); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		c.round.hold(c, "silent while a handler waits")
	} else {
		drops(c, c.rng.IntN(3))
	}
	return nil
}

// noAcknowledgements does not acknowledge events.
func noAcknowledgements(c *client) error {
	c.ignores.Store(true)
	if err := c.begin(auth{Rooms: []string{"common"}}); err != nil {
		return err
	}
	for range 1 + c.rng.IntN(3) {
		if err := c.order(order{Op: "ask for a while", N: 1 + c.rng.IntN(200)}); err != nil {
			return err
		}
	}
	if c.rng.IntN(2) == 0 {
		return c.leave()
	}
	drops(c, c.rng.IntN(3))
	return nil
}

// gateWaits leaves, or falls silent, while middleware waits for it or panics.
func gateWaits(c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	a := auth{Key: c.key, Gate: pick(c.rng, "wait", "panic")}
	if err := c.send(connect("/", a)); err != nil {
		return err
	}
	err := c.pause(between(c.rng, time.Millisecond, 300*time.Millisecond))
	if c.rng.IntN(2) == 0 {
		c.round.hold(c, "silent while middleware waits")
	} else {
		drops(c, c.rng.IntN(3))
	}
	return err
}

// silence stops reading and writing.
func silence(c *client) error {
	err := c.warmUp()
	if c.round.mayHold() {
		c.round.hold(c, "silent")
	}
	return err
}

// vanish is a polling client that falls silent after its handshake, or with a poll under way. Its connections stay open,
// until the server closes them.
func vanish(c *client) error {
	c.carrier = overPolling
	if !c.round.mayHold() {
		return nil
	}
	if c.rng.IntN(3) == 0 {
		err := c.begin(auth{})
		c.round.hold(c, "vanished with a poll under way")
		return err
	}
	w, err := c.dial()
	if err != nil {
		return err
	}
	if _, err := w.exchange("GET", c.target("polling"), "", nil); err != nil {
		return err
	}
	c.round.hold(c, "vanished after the handshake")
	return nil
}

// deaf stops reading while the server sends a lot. It keeps its session alive with pongs.
func deaf(c *client) error {
	if err := c.begin(auth{}); err != nil {
		return err
	}
	if c.ws != nil {
		_ = c.ws.tcp.SetReadBuffer(4 << 10)
	}
	c.goDeaf()
	if err := c.emit("do", order{Op: "pour", N: 2 * c.round.plan.maxQueued}); err != nil {
		return err
	}
	for range 2 + c.rng.IntN(4) {
		time.Sleep(c.round.plan.pingInterval / 2)
		c.sending.Lock()
		ws := c.ws
		c.sending.Unlock()
		if ws != nil {
			_ = ws.SetWriteDeadline(time.Now().Add(time.Second))
		}
		if c.send(texts("3")...) != nil {
			break
		}
	}
	if c.rng.IntN(2) == 0 && c.round.mayHold() {
		c.round.hold(c, "deaf")
	} else {
		drops(c, c.rng.IntN(3))
	}
	return nil
}

// full stops polling, in a room that receives more broadcasts than may be queued. Its session ends inside a broadcast.
func full(c *client) error {
	c.carrier = overPolling
	room := "full " + c.key
	if err := c.begin(auth{Rooms: []string{room}}); err != nil {
		return err
	}
	c.goDeaf()
	if c.rng.IntN(4) > 0 {
		for _, w := range c.connections() {
			w.close() // no poll is under way
		}
		c.sending.Lock()
		c.post = nil
		c.sending.Unlock()
	}
	err := c.emit("do", order{Op: "fill", N: c.round.plan.maxQueued * 5 / 4, Room: room})
	c.round.doom(c, "too much is queued")
	return err
}

// mute stops writing, but reads.
func mute(c *client) error {
	if err := c.warmUp(); err != nil {
		return err
	}
	c.mute.Store(true)
	c.ignores.Store(true)
	c.round.doom(c, "mute")
	return c.pause(c.round.plan.heartbeat())
}

// halfBody sends half of a POST.
func halfBody(c *client) error {
	c.carrier = overPolling
	if err := c.begin(auth{}); err != nil {
		return err
	}
	w, err := c.dial()
	if err != nil {
		return err
	}
	body := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: soak\r\nContent-Length: 1000\r\n\r\n42[\"crumb\"]", c.target("polling"))
	if err := w.writeRaw([]byte(body)); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 && c.round.mayHold() {
		c.round.hold(c, "half a body was sent")
		return nil
	}
	err = c.pause(between(c.rng, time.Millisecond, 300*time.Millisecond))
	drops(c, c.rng.IntN(2))
	return err
}

// halfHead sends part of a request head, on a new connection or on a used one.
func halfHead(c *client) error {
	c.carrier = overPolling
	w, err := c.dial()
	if err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		if _, err := w.exchange("GET", "/nothing", "", nil); err != nil {
			var status *statusError
			if !errors.As(err, &status) {
				return err
			}
		}
	}
	head := "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: soak\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	err = w.writeRaw([]byte(head[:c.rng.IntN(len(head))]))
	time.Sleep(between(c.rng, time.Millisecond, 300*time.Millisecond))
	return err
}

// knock connects and disconnects.
func knock(c *client) error {
	w, err := c.dial()
	if err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		w.reset()
	}
	return nil
}

// abandonedUpgrade begins to upgrade and does not complete it. Polling must still work.
func abandonedUpgrade(c *client) error {
	c.carrier = overPolling
	if err := c.begin(auth{}); err != nil {
		return err
	}
	w, err := c.probe()
	if err != nil {
		return err
	}
	switch c.rng.IntN(3) {
	case 0:
		w.close()
		if err := acknowledged(c); err != nil {
			return err
		}
		return c.leave()
	case 1:
		_ = w.writeFrame(opText, []byte("4what"))
		drops(c, cutReset)
	default:
		c.round.hold(c, "silent while it switches")
	}
	return nil
}

// overlap sends two polls, or two POSTs, at once.
func overlap(c *client) error {
	c.carrier = overPolling
	if err := c.begin(auth{}); err != nil {
		return err
	}
	w, err := c.dial()
	if err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		err = w.request("GET", c.target("polling"), "", nil)
	} else {
		half := "POST " + c.target("polling") + " HTTP/1.1\r\nHost: soak\r\nContent-Length: 10\r\n\r\n4"
		if err = w.writeRaw([]byte(half)); err == nil {
			err = c.send(texts("3")...)
		}
	}
	_ = c.pause(200 * time.Millisecond)
	drops(c, c.rng.IntN(2))
	return err
}

// tooLarge sends a message over the limit.
func tooLarge(c *client) error {
	if err := c.begin(auth{}); err != nil {
		return err
	}
	_ = c.send(packet{text: `42["crumb","` + strings.Repeat("x", c.maxPayload) + `"]`}) // it may be cut off while it writes
	c.round.doom(c, "it has sent too much")
	return c.pause(c.round.plan.heartbeat())
}

// pingFlood sends thousands of pings, and may not read the answers.
func pingFlood(c *client) error {
	c.carrier = overWebSocket
	if err := c.begin(auth{}); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		c.goDeaf()
	}
	pings := bytes.Repeat(appendFrame(nil, 0x80|opPing, []byte("ping")), 500)
	for range 1 + c.rng.IntN(10) {
		_ = c.ws.SetWriteDeadline(time.Now().Add(time.Second))
		if err := c.ws.writeRaw(pings); err != nil {
			break
		}
	}
	drops(c, c.rng.IntN(3))
	return nil
}

// prey is a client that others disconnect.
func prey(c *client) error {
	if err := c.begin(auth{Rooms: []string{preyRoom, "common"}}); err != nil {
		return err
	}
	for range 1 + c.rng.IntN(10) {
		if err := acknowledged(c); err != nil {
			return err
		}
		if err := c.pause(between(c.rng, time.Millisecond, 200*time.Millisecond)); err != nil {
			return err
		}
	}
	drops(c, cutClose)
	return nil
}
