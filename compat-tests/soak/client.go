package soak

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Transports of a client.
const (
	overWebSocket = "websocket"
	overPolling   = "polling"
	overUpgrade   = "both" // polling, then WebSocket
)

var carriers = []string{overWebSocket, overPolling, overUpgrade}

var (
	errDeaf    = errors.New("the client has stopped reading")
	errLeft    = errors.New("the client has left")
	errStopped = errors.New("the round has failed")
)

// goneError reports the end of a connection.
type goneError struct{ err error }

func (e *goneError) Error() string { return "the connection has ended: " + e.err.Error() }

func (e *goneError) Unwrap() error { return e.err }

// lateError reports that something did not happen within patience.
type lateError struct{ what string }

func (e *lateError) Error() string { return fmt.Sprintf("no %s within %v", e.what, patience) }

// client is a Socket.IO client for the length of one session. It behaves well unless told otherwise.
type client struct {
	round   *round
	node    *node
	key     string // its name in messages and in the ledger
	since   time.Time
	action  string
	rng     *rand.Rand
	carrier string
	deflate bool
	gzip    bool

	sid        string
	maxPayload int
	ticks      *sequence // if not nil, checks the numbers of the events "tick"

	visits  int         // to child namespaces
	held    bool        // silent, with open connections
	deaf    atomic.Bool // does not read
	mute    atomic.Bool // does not answer pings
	ignores atomic.Bool // does not acknowledge events

	sending sync.Mutex // held while packets are sent; guards ws, post and posted
	ws      *wire      // written by the reading goroutine only
	post    *wire
	posted  time.Time
	get     *wire                // used by the reading goroutine only
	next    atomic.Pointer[wire] // a WebSocket that was probed successfully

	mu       sync.Mutex
	left     bool // no more connections are opened
	wires    []*wire
	joins    map[string]chan joined // by namespace
	acks     map[int]chan []json.RawMessage
	lastAck  int
	lastBlob []byte // of the last binary acknowledgement
	pid      string
	offset   string
	socketID string
	partial  *socketPacket

	switched chan struct{} // closed after an upgrade
	ended    chan struct{} // closed when the reading goroutine ends
	err      error         // why it ended; set before ended is closed
}

// String returns the client's name in messages.
func (c *client) String() string {
	return fmt.Sprintf("%s (%s, %s, session %q)", c.key, c.action, c.carrier, c.sid)
}

// target returns a request target for the session.
func (c *client) target(transport string) string {
	target := "/socket.io/?EIO=4&transport=" + transport
	if c.sid != "" {
		target += "&sid=" + c.sid
	}
	return target
}

// dial opens a connection. cut closes it.
func (c *client) dial() (*wire, error) {
	w, err := dial(c.round.ctx, c.node.addr, c.node.secure, &c.round.open)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		w.reset()
		return nil, errLeft
	}
	c.wires = append(c.wires, w)
	return w, nil
}

// open opens a session and starts to read from it.
func (c *client) open() error {
	first, err := c.dial()
	if err != nil {
		return err
	}
	_ = first.SetReadDeadline(time.Now().Add(patience))
	var greeting string
	if c.carrier == overWebSocket {
		if err := first.upgrade(c.target("websocket"), c.deflate); err != nil {
			return err
		}
		c.ws = first
		_, message, err := first.readMessage()
		if err != nil {
			return err
		}
		greeting = string(message)
	} else {
		c.get = first
		body, err := first.exchange("GET", c.target("polling"), c.header(), nil)
		if err != nil {
			return err
		}
		greeting, _, _ = strings.Cut(string(body), separator)
	}
	_ = first.SetReadDeadline(time.Time{})
	var o struct {
		SID        string `json:"sid"`
		MaxPayload int    `json:"maxPayload"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(greeting, "0")), &o); err != nil || o.SID == "" {
		return fmt.Errorf("the open packet is %q", greeting)
	}
	c.sid, c.maxPayload = o.SID, o.MaxPayload
	c.ended, c.switched = make(chan struct{}), make(chan struct{})
	go c.read()
	if c.carrier == overUpgrade {
		err = c.upgrade()
	}
	if err == nil {
		c.round.soak.count(opened(c.carrier), 1)
	}
	return err
}

// opened returns the name under which sessions are counted.
func opened(carrier string) string { return "session over " + carrier }

func (c *client) header() string {
	if c.gzip {
		return "Accept-Encoding: gzip\r\n"
	}
	return ""
}

// upgrade switches from polling to WebSocket.
func (c *client) upgrade() error {
	w, err := c.probe()
	if err != nil {
		return err
	}
	c.next.Store(w)
	_, err = wait(c, c.switched, "upgrade")
	return err
}

// probe opens a WebSocket for the session and exchanges the probe packets.
func (c *client) probe() (*wire, error) {
	w, err := c.dial()
	if err != nil {
		return nil, err
	}
	_ = w.SetReadDeadline(time.Now().Add(patience))
	defer w.SetReadDeadline(time.Time{})
	if err := w.upgrade(c.target("websocket"), c.deflate); err != nil {
		return nil, err
	}
	if err := w.writeFrame(opText, []byte("2probe")); err != nil {
		return nil, err
	}
	_, answer, err := w.readMessage()
	if err == nil && string(answer) != "3probe" {
		err = fmt.Errorf("the answer to a probe is %q", answer)
	}
	return w, err
}

// read handles packets of the server until the connection ends.
func (c *client) read() {
	for c.err == nil {
		if c.ws != nil {
			c.err = c.readWebSocket()
		} else {
			c.err = c.poll()
		}
		if c.deaf.Load() {
			c.err = errDeaf
		}
	}
	close(c.ended)
}

func (c *client) readWebSocket() error {
	op, message, err := c.ws.readMessage()
	switch {
	case err != nil:
		return err
	case op == opBinary:
		return c.handleBinary(message)
	default:
		return c.handle(string(message))
	}
}

func (c *client) poll() error {
	body, err := c.get.exchange("GET", c.target("polling"), c.header(), nil)
	if err != nil {
		return err
	}
	for _, text := range strings.Split(string(body), separator) {
		if encoded, ok := strings.CutPrefix(text, "b"); ok {
			var data []byte
			if data, err = base64.StdEncoding.DecodeString(encoded); err == nil {
				err = c.handleBinary(data)
			}
		} else {
			err = c.handle(text)
		}
		if err != nil {
			return err
		}
	}
	if w := c.next.Load(); w != nil {
		c.sending.Lock()
		defer c.sending.Unlock()
		if err := w.writeFrame(opText, []byte("5")); err != nil {
			return err
		}
		c.ws = w
		close(c.switched)
	}
	return nil
}

// handle handles an Engine.IO packet. It does not wait for replies to be sent.
func (c *client) handle(text string) error {
	switch {
	case text == "":
		return errors.New("an empty packet")
	case text[0] == '2' && !c.mute.Load():
		c.reply(texts("3" + text[1:])...)
	case text[0] == '4':
		p, err := parseSocketPacket(text[1:])
		if err != nil {
			return err
		}
		if p.attachments > 0 {
			c.partial = p
			return nil
		}
		return c.dispatch(p)
	case text[0] == '1':
		return errClosedByPeer
	}
	return nil
}

func (c *client) handleBinary(data []byte) error {
	p := c.partial
	if p == nil {
		return errors.New("binary data that belongs to no packet")
	}
	if p.blobs = append(p.blobs, data); len(p.blobs) < p.attachments {
		return nil
	}
	c.partial = nil
	return c.dispatch(p)
}

// reply sends packets without blocking the reading goroutine: a POST may have to wait for the previous one.
func (c *client) reply(packets ...packet) {
	if c.ws != nil {
		_ = c.send(packets...) // reading reports the error
		return
	}
	go c.send(packets...)
}

// dispatch handles a Socket.IO packet.
func (c *client) dispatch(p *socketPacket) error {
	switch p.kind {
	case '0', '4':
		var j joined
		if err := json.Unmarshal([]byte(p.data), &j); err != nil {
			return fmt.Errorf("CONNECT with %.100q: %w", p.data, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if p.namespace == "/" && j.Message == "" {
			c.socketID, c.pid = j.SID, j.PID
		}
		if answer := c.joins[p.namespace]; answer != nil {
			delete(c.joins, p.namespace)
			answer <- j
		}
	case '1':
		if p.namespace == "/" {
			return errors.New("the server has disconnected the socket")
		}
	case '2', '5':
		return c.dispatchEvent(p)
	case '3', '6':
		var args []json.RawMessage
		if err := json.Unmarshal([]byte(p.data), &args); err != nil {
			return fmt.Errorf("an acknowledgement with %.100q: %w", p.data, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(p.blobs) > 0 {
			c.lastBlob = p.blobs[0]
		}
		answer := c.acks[p.id]
		if answer == nil {
			return fmt.Errorf("an acknowledgement that was not asked for, or the second one: %d", p.id)
		}
		delete(c.acks, p.id)
		answer <- args
	default:
		return fmt.Errorf("a packet of type %q", p.kind)
	}
	return nil
}

func (c *client) dispatchEvent(p *socketPacket) error {
	var args []json.RawMessage
	if err := json.Unmarshal([]byte(p.data), &args); err != nil || len(args) == 0 {
		return fmt.Errorf("an event with %.100q", p.data)
	}
	if p.namespace == "/" && c.pid != "" {
		var offset string
		if json.Unmarshal(args[len(args)-1], &offset) == nil && len(args) > 1 {
			c.mu.Lock()
			c.offset = offset
			c.mu.Unlock()
		}
	}
	if p.id >= 0 && !c.ignores.Load() {
		id := strconv.Itoa(p.id)
		if p.namespace != "/" {
			id = p.namespace + "," + id
		}
		c.reply(texts("43" + id + `["answer"]`)...)
	}
	if string(args[0]) == `"tick"` && c.ticks != nil && len(args) > 1 {
		n, err := strconv.Atoi(string(args[1]))
		if err == nil {
			err = c.ticks.next(n)
		}
		return err
	}
	return nil
}

// send sends packets in one write: as frames, or as the body of a POST. Encoding thousands of packets can take longer
// than a heartbeat, so send does not hold the lock meanwhile: pongs need it.
func (c *client) send(packets ...packet) error {
	for {
		c.sending.Lock()
		ws := c.ws
		c.sending.Unlock()
		var b []byte
		if ws != nil {
			b = frames(packets, ws.deflate)
		} else {
			b = payload(packets)
		}
		c.sending.Lock()
		if c.ws != ws { // upgraded in the meantime
			c.sending.Unlock()
			continue
		}
		defer c.sending.Unlock()
		if ws != nil {
			return ws.writeRaw(b)
		}
		return c.postLocked(b)
	}
}

// freshFor is how long an idle connection is reused. Servers close idle connections after a while.
const freshFor = 200 * time.Millisecond

func (c *client) postLocked(body []byte) error {
	if c.post != nil && time.Since(c.posted) > freshFor {
		c.post.close()
		c.post = nil
	}
	if c.post == nil {
		w, err := c.dial()
		if err != nil {
			return err
		}
		c.post = w
	}
	_ = c.post.SetReadDeadline(time.Now().Add(patience))
	answer, err := c.post.exchange("POST", c.target("polling"), "", body)
	if err == nil && string(answer) != "ok" {
		err = fmt.Errorf("the answer to a POST is %.100q", answer)
	}
	c.posted = time.Now()
	if err != nil {
		c.post.close()
		c.post = nil
	}
	return err
}

// wait returns the next value from ch. what describes the value in errors.
func wait[T any](c *client, ch <-chan T, what string) (v T, err error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-ch:
		return v, nil
	default:
	}
	select {
	case v = <-ch:
		return v, nil
	case <-c.ended:
		select { // the value may have arrived just before
		case v = <-ch:
			return v, nil
		default:
			return v, &goneError{c.err}
		}
	case <-c.round.ctx.Done():
		return v, errStopped
	case <-timer.C:
		return v, &lateError{what}
	}
}

// join joins a namespace.
func (c *client) join(namespace string, a auth) (joined, error) {
	answer := make(chan joined, 1)
	c.mu.Lock()
	if c.joins == nil {
		c.joins = make(map[string]chan joined)
	}
	c.joins[namespace] = answer
	c.mu.Unlock()
	if err := c.send(connect(namespace, a)); err != nil {
		return joined{}, err
	}
	return wait(c, answer, "answer to CONNECT")
}

// emit sends an event.
func (c *client) emit(name string, args ...any) error { return c.send(event(-1, name, args...)) }

// expect returns an unused acknowledgement id, and the channel that receives the acknowledgement.
func (c *client) expect() (id int, answer chan []json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.acks == nil {
		c.acks = make(map[int]chan []json.RawMessage)
	}
	c.lastAck++
	answer = make(chan []json.RawMessage, 1)
	c.acks[c.lastAck] = answer
	return c.lastAck, answer
}

// call sends an event and returns the first argument of its acknowledgement.
func (c *client) call(name string, args ...any) (json.RawMessage, error) {
	id, answer := c.expect()
	if err := c.send(event(id, name, args...)); err != nil {
		return nil, err
	}
	got, err := wait(c, answer, fmt.Sprintf("acknowledgement of %q", name))
	if err != nil || len(got) == 0 {
		return nil, err
	}
	return got[0], nil
}

// isOpen reports whether the client is reading.
func (c *client) isOpen() bool {
	select {
	case <-c.ended:
		return false
	default:
		return c.ended != nil
	}
}

// goDeaf stops reading at once, and leaves the connections open.
func (c *client) goDeaf() {
	c.deaf.Store(true)
	if c.ended == nil {
		return
	}
	for c.isOpen() {
		c.mu.Lock()
		for _, w := range c.wires {
			w.interrupt()
		}
		c.mu.Unlock()
		select {
		case <-c.ended:
		case <-time.After(time.Millisecond): // the reader may have been between two reads and reset the deadline
		}
	}
}

// connections returns the client's connections.
func (c *client) connections() []*wire {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*wire(nil), c.wires...)
}

// cut ends all connections with end, which is (*wire).close or (*wire).reset, and waits until reading has ended.
func (c *client) cut(end func(*wire)) {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	for _, w := range c.connections() {
		end(w)
	}
	if c.ended != nil {
		<-c.ended
	}
}
