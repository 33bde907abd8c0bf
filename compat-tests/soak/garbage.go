package soak

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// nonsense lists bad requests, and bytes that are no requests.
var nonsense = []string{
	"GET /socket.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\nHost: soak\r\n\r\n",
	"GET /socket.io/?EIO=9&transport=polling HTTP/1.1\r\nHost: soak\r\n\r\n",
	"GET /socket.io/?EIO=4&transport=pigeon HTTP/1.1\r\nHost: soak\r\n\r\n",
	"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: soak\r\n\r\n",
	"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\n\r\n",
	"DELETE /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: soak\r\n\r\n",
	"OPTIONS /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: soak\r\n\r\n",
	"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: soak\r\nContent-Length: 3\r\n\r\n4xx",
	"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: soak\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
	"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: soak\r\nContent-Length: -1\r\n\r\n",
	"GET /elsewhere HTTP/1.1\r\nHost: soak\r\n\r\nGET /socket.io/ HTTP/1.1\r\nHost: soak\r\n\r\n",
	"GET /socket.io/../../etc/passwd HTTP/1.1\r\nHost: soak\r\n\r\n",
	"GET /socket.io/?%zz HTTP/1.1\r\nHost: soak\r\n\r\n",
	"GET /socket.io/ HTTP/1.1\r\n folded: header\r\n\r\n",
	"GET /socket.io/ HTTP/7.3\r\nHost: soak\r\n\r\n",
	"\r\n\r\n\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00\x00\x00\x00", "hello",
}

// garbageInHTTP sends nonsense on a new connection.
func garbageInHTTP(c *client) error {
	w, err := c.dial()
	if err != nil {
		return err
	}
	text := pick(c.rng, nonsense...)
	if c.rng.IntN(20) == 0 {
		text = "GET /socket.io/?EIO=4 HTTP/1.1\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n"
	}
	_ = w.SetDeadline(time.Now().Add(300 * time.Millisecond))
	_ = w.writeRaw([]byte(text))
	_, err = io.Copy(io.Discard, w)
	return err
}

// badFrames lists violations of RFC 6455.
var badFrames = [][]byte{
	{0x81, 0x02, '4', '0'},                               // not masked
	appendFrame(nil, 0x83, nil),                          // a reserved opcode
	appendFrame(nil, 0x8B, nil),                          // a reserved opcode of a control frame
	appendFrame(nil, 0xA1, []byte("4")),                  // RSV2
	appendFrame(nil, 0xC1, []byte("4\xff\xff")),          // compressed nonsense, or RSV1
	appendFrame(nil, 0x80, []byte("4")),                  // the continuation of nothing
	appendFrame(nil, 0x09, []byte("ping")),               // a control frame in parts
	appendFrame(nil, 0x89, make([]byte, 126)),            // a control frame that is too long
	appendFrame(nil, 0x81, []byte("4\xc3\x28")),          // not UTF-8
	appendFrame(nil, 0x88, []byte{0x03}),                 // half a code
	appendFrame(nil, 0x88, []byte{0x03, 0xED}),           // a code that may not be sent
	append([]byte{0x81, 0xFF, 0xFF}, make([]byte, 7)...), // a length of 2^63 and more
	append([]byte{0x81, 0xFF, 0x00, 0xFF}, make([]byte, 6)...),
	append(appendFrame(nil, 0x01, []byte("4")), appendFrame(nil, 0x81, []byte("4"))...), // a message in a message
}

// garbageInWebSocket sends bad frames.
func garbageInWebSocket(c *client) error {
	c.carrier = pick(c.rng, overWebSocket, overUpgrade)
	if err := c.begin(auth{}); err != nil {
		return err
	}
	if err := c.ws.writeRaw(append(frames(c.numberedBatch(c.rng.IntN(10)), false), pick(c.rng, badFrames...)...)); err != nil {
		return err
	}
	c.round.doom(c, "it has sent a bad frame")
	return c.pause(c.round.plan.heartbeat())
}

// garbageInEngine sends bad Engine.IO packets, and packets that a client may not send.
func garbageInEngine(c *client) error {
	if err := c.begin(auth{}); err != nil {
		return err
	}
	bad := pick(c.rng, "9", "x", "", "0{}", "2", "2probe", "5", "6", "bAAAA", "b!!!!", "\x1e\x1e", "4", strings.Repeat("7", 1000))
	err := c.send(append(c.numberedBatch(c.rng.IntN(10)), packet{text: bad})...)
	c.round.doom(c, "it has sent a bad packet, and is silent then")
	c.mute.Store(true)
	return errors.Join(err, c.pause(c.round.plan.heartbeat()))
}

// badPackets lists bad Socket.IO packets, and packets that the state of the client does not allow.
var badPackets = []string{
	`4`, `42`, `42[`, `42[]`, `42{}`, `42[1,2`, `42["connect"]`, `42["disconnect"]`, `42["x"]]`, `42["x",]`, `42["` + "\x01" + `"]`, `42x["y"]`,
	`40`, `40{}`, `40/nowhere,`, `40/child-1,[`, `41/nowhere,`, `43`, `431`, `4399999999999999999999[]`, `43["x"]`, `44{"message":"x"}`, `45`, `45-["x"]`,
	`4599999-["x"]`, `451-["x"]`, `451-["x",{"_placeholder":true,"num":7}]`, `47`, `4/`, `42/nowhere,["x"]`,
	`42["x",` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `]`, `42["x",` + strings.Repeat("[", 5000),
}

// garbageInSocket sends bad Socket.IO packets.
func garbageInSocket(c *client) error {
	if err := c.begin(auth{}); err != nil {
		return err
	}
	packets := append(c.numberedBatch(c.rng.IntN(10)), packet{text: pick(c.rng, badPackets...)})
	if c.rng.IntN(3) == 0 {
		packets = append(packets, packet{data: []byte("binary")})
	}
	err := c.send(packets...)
	drops(c, c.rng.IntN(2))
	return err
}

// protocol3 is a client of Engine.IO protocol v3, which sends the pings itself.
func protocol3(c *client) error {
	c.carrier = overWebSocket
	w, err := c.dial()
	if err != nil {
		return err
	}
	_ = w.SetDeadline(time.Now().Add(patience))
	if err := w.upgrade("/socket.io/?EIO=3&transport=websocket", c.deflate); err != nil {
		return err
	}
	for _, begins := range []string{"0{", "40"} {
		if _, message, err := w.readMessage(); err != nil || !strings.HasPrefix(string(message), begins) {
			return fmt.Errorf("the server says %.100q, %w", message, err)
		}
	}
	for range 1 + c.rng.IntN(5) {
		if err := w.writeRaw(frames(append(texts("2"), crumbs(3)...), false)); err != nil {
			return err
		}
		for answered := false; !answered; {
			_, message, err := w.readMessage()
			if err != nil {
				return err
			}
			answered = string(message) == "3"
		}
		time.Sleep(between(c.rng, time.Millisecond, 200*time.Millisecond))
	}
	if c.rng.IntN(2) == 0 {
		w.reset()
	}
	return nil
}
