package main

import (
	"fmt"
	"strings"
)

// A verdict is a server's result in a case.
type verdict string

const (
	ok            verdict = "ok"
	nonStrict     verdict = "non-strict"    // it may do that, but others do better
	informational verdict = "informational" // the protocol leaves it open
	limited       verdict = "limited"       // the case exceeds a limit of the server
)

// testCase is one case, with its id and subject in the published Autobahn test suite.
type testCase struct {
	id   string
	what string // the client sends
	want string // the server does
	run  func(p *peer) verdict

	offer string // Sec-WebSocket-Extensions
}

// group is all cases whose ids begin with the same number.
type group struct {
	title string
	cases []testCase
}

// number returns the number with which the ids of the cases begin.
func (g *group) number() string {
	number, _, _ := strings.Cut(g.cases[0].id, ".")
	return number
}

// add appends cases and numbers them below prefix.
func (g *group) add(prefix string, cases ...testCase) {
	for i, c := range cases {
		c.id = fmt.Sprint(prefix, ".", i+1)
		g.cases = append(g.cases, c)
	}
}

// groups returns all cases. messages is the number of repetitions in cases that repeat something, 1,000 in the published suite.
func groups(messages int) []group {
	return []group{
		framing(), pings(), reservedBits(), opcodes(), fragmentation(), utf8Handling(), closeHandling(),
		limits(messages), fragmentedByTheSender(), compression(messages), compressionOffers(messages),
	}
}

const (
	wantEcho    = "the message"
	wantRefusal = "close 1002"
)

// echo is a case in which send sends a message and the server sends it back.
func echo(what, kind, payload string, send func(p *peer)) testCase {
	return testCase{what: what, want: wantEcho, run: func(p *peer) verdict {
		send(p)
		p.expect(kind, payload)
		p.leave()
		return ok
	}}
}

// refusal is a case in which the server must close the connection with code 1002 when send has been called.
func refusal(what string, send func(p *peer)) testCase {
	return testCase{what: what, want: wantRefusal, run: func(p *peer) verdict {
		send(p)
		p.closed(1002)
		return ok
	}}
}

// refusalAfter is a refusal that follows a text message, which the server must echo first. A server that closes the
// connection without the echo is not strict.
func refusalAfter(what, message string, send func(p *peer)) testCase {
	return testCase{what: what, want: "the first message, then " + wantRefusal, run: func(p *peer) verdict {
		send(p)
		e := p.next()
		if e.kind == "close" && e.code() == 1002 {
			p.ends()
			return nonStrict
		}
		if e.kind != "text" || string(e.payload) != message {
			fail("%v, want the message or close 1002", e)
		}
		p.closed(1002)
		return ok
	}}
}

// ways are in one piece, frame by frame, and byte by byte.
var ways = []struct {
	name string
	send func(p *peer, frames ...[]byte)
}{
	{"", (*peer).send},
	{", frame by frame", (*peer).sendEach},
	{", byte by byte", func(p *peer, frames ...[]byte) { p.sendChopped(1, frames...) }},
}

func framing() group {
	g := group{title: "Framing"}
	for i, op := range []byte{text, binaryData} {
		kind, letter := "text", "*"
		if op == binaryData {
			kind, letter = "binary", "\xfe"
		}
		var cases []testCase
		for _, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
			payload := strings.Repeat(letter, n)
			cases = append(cases, echo(fmt.Sprintf("%s message of %d bytes", kind, n), kind, payload, func(p *peer) {
				p.send(whole(op, payload))
			}))
		}
		payload := strings.Repeat(letter, 65536)
		cases = append(cases, echo(fmt.Sprintf("%s message of 65536 bytes, in pieces of 997 bytes", kind), kind, payload, func(p *peer) {
			p.sendChopped(997, whole(op, payload))
		}))
		g.add(fmt.Sprint("1.", i+1), cases...)
	}
	return g
}

// answered is a case in which pings are answered in order.
func answered(what string, send func(p *peer), payloads ...string) testCase {
	want := "a pong with the payload of each ping"
	if len(payloads) == 0 {
		want = "nothing"
	}
	return testCase{what: what, want: want, run: func(p *peer) verdict {
		send(p)
		for _, payload := range payloads {
			p.expect("pong", payload)
		}
		p.leave()
		return ok
	}}
}

func pings() group {
	g := group{title: "Pings and pongs"}
	notUTF8 := "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	longest := strings.Repeat("\xfe", 125)
	var ten []string
	var tenPings [][]byte
	for i := range 10 {
		ten = append(ten, fmt.Sprint("payload ", i))
		tenPings = append(tenPings, whole(ping, ten[i]))
	}
	g.add("2",
		answered("ping without payload", func(p *peer) { p.send(whole(ping, "")) }, ""),
		answered("ping with a text", func(p *peer) { p.send(whole(ping, "Hello, world!")) }, "Hello, world!"),
		answered("ping with bytes that are not UTF-8", func(p *peer) { p.send(whole(ping, notUTF8)) }, notUTF8),
		answered("ping with 125 bytes", func(p *peer) { p.send(whole(ping, longest)) }, longest),
		refusal("ping with 126 bytes", func(p *peer) { p.send(whole(ping, longest+"\xfe")) }),
		answered("ping with 125 bytes, byte by byte", func(p *peer) { p.sendChopped(1, whole(ping, longest)) }, longest),
		answered("pong without payload", func(p *peer) { p.send(whole(pong, "")) }),
		answered("pong with a payload", func(p *peer) { p.send(whole(pong, "unsolicited")) }),
		answered("pong with a payload, ping with another", func(p *peer) {
			p.send(whole(pong, "unsolicited"), whole(ping, "our ping"))
		}, "our ping"),
		answered("10 pings with payloads", func(p *peer) { p.send(tenPings...) }, ten...),
		answered("10 pings with payloads, byte by byte", func(p *peer) { p.sendChopped(1, tenPings...) }, ten...),
	)
	return g
}

func reservedBits() group {
	g := group{title: "Reserved bits"}
	hello := whole(text, "Hello")
	bits := func(op, rsv byte, payload string) []byte { return frame(fin|rsv<<4|op, []byte(payload)) }
	cases := []testCase{refusal("text with RSV 1", func(p *peer) { p.send(bits(text, 1, "*")) })}
	for i, way := range ways {
		rsv := byte(2 + i)
		cases = append(cases, refusalAfter(fmt.Sprintf("text, text with RSV %d, ping%s", rsv, way.name), "Hello", func(p *peer) {
			way.send(p, hello, bits(text, rsv, "*"), whole(ping, ""))
		}))
	}
	g.add("3", append(cases,
		refusal("binary with RSV 5", func(p *peer) { p.send(bits(binaryData, 5, "*")) }),
		refusal("ping with RSV 6", func(p *peer) { p.send(bits(ping, 6, "*")) }),
		refusal("close with RSV 7", func(p *peer) { p.send(bits(closing, 7, "\x03\xe8")) }))...)
	return g
}

func opcodes() group {
	g := group{title: "Opcodes"}
	hello := whole(text, "Hello")
	for i, first := range []byte{3, 11} {
		op := func(n int) byte { return first + byte(n) }
		g.add(fmt.Sprint("4.", i+1),
			refusal(fmt.Sprintf("opcode %d", op(0)), func(p *peer) { p.send(whole(op(0), "")) }),
			refusal(fmt.Sprintf("opcode %d with a payload", op(1)), func(p *peer) { p.send(whole(op(1), "reserved")) }),
			refusalAfter(fmt.Sprintf("text, opcode %d, ping", op(2)), "Hello", func(p *peer) {
				p.send(hello, whole(op(2), ""), whole(ping, ""))
			}),
			refusalAfter(fmt.Sprintf("text, opcode %d with a payload, ping", op(3)), "Hello", func(p *peer) {
				p.send(hello, whole(op(3), "reserved"), whole(ping, ""))
			}),
			refusalAfter(fmt.Sprintf("text, opcode %d with a payload, ping, byte by byte", op(4)), "Hello", func(p *peer) {
				p.sendChopped(1, hello, whole(op(4), "reserved"), whole(ping, ""))
			}))
	}
	return g
}
