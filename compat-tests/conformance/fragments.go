package main

import (
	"fmt"
	"strings"
	"time"
)

// pause is the time that the client waits in the middle of a message.
const pause = 50 * time.Millisecond

func fragmentation() group {
	g := group{title: "Fragmentation"}
	first := func(payload string) []byte { return frame(text, []byte(payload)) }
	more := func(payload string) []byte { return frame(continuation, []byte(payload)) }
	last := func(payload string) []byte { return whole(continuation, payload) }
	var cases []testCase
	for _, c := range []struct {
		op   byte
		name string
	}{{ping, "ping"}, {pong, "pong"}} {
		cases = append(cases, refusal(c.name+" in 2 fragments", func(p *peer) {
			p.send(frame(c.op, []byte("fragment 1")), last("fragment 2"))
		}))
	}
	for _, way := range ways {
		cases = append(cases, echo("text in 2 fragments"+way.name, "text", "fragment 1, fragment 2", func(p *peer) {
			way.send(p, first("fragment 1, "), last("fragment 2"))
		}))
	}
	for _, way := range ways {
		cases = append(cases, testCase{
			what: "text in 2 fragments with a ping between" + way.name,
			want: "the pong, then the message",
			run: func(p *peer) verdict {
				way.send(p, first("fragment 1, "), whole(ping, "between"), last("fragment 2"))
				p.expect("pong", "between")
				p.expect("text", "fragment 1, fragment 2")
				p.leave()
				return ok
			},
		})
	}
	for _, end := range []struct {
		name  string
		frame []byte
	}{{"last", last("nothing to continue")}, {"not last", more("nothing to continue")}} {
		for _, way := range ways {
			cases = append(cases, refusal(fmt.Sprintf("continuation (%s) without a beginning, text%s", end.name, way.name), func(p *peer) {
				way.send(p, end.frame, whole(text, "Hello"))
			}))
		}
	}
	twice := func(stray []byte) func(p *peer) {
		return func(p *peer) {
			for range 2 {
				p.send(stray, first("fragment 1, "), last("fragment 2"))
			}
		}
	}
	cases = append(cases,
		refusalAfter("text in 2 fragments, continuation (not last), text", "fragment 1, fragment 2", func(p *peer) {
			p.send(first("fragment 1, "), last("fragment 2"), more("nothing to continue"), whole(text, "Hello"))
		}),
		refusal("twice: continuation (not last) without a beginning, text in 2 fragments", twice(more("nothing to continue"))),
		refusal("twice: continuation (last) without a beginning, text in 2 fragments", twice(last("nothing to continue"))),
		refusal("text in 2 fragments, both with the opcode of text", func(p *peer) {
			p.send(first("fragment 1, "), whole(text, "fragment 2"))
		}),
		slowFragments("text in 5 fragments with 2 pings between and a pause", (*peer).send),
		slowFragments("text in 5 fragments with 2 pings between and a pause, frame by frame", (*peer).sendEach))
	g.add("5", cases...)
	return g
}

func slowFragments(what string, send func(p *peer, frames ...[]byte)) testCase {
	return testCase{what: what, want: "the pongs, then the message", run: func(p *peer) verdict {
		send(p, frame(text, []byte("1, ")), frame(continuation, []byte("2, ")), whole(ping, "ping 1"))
		p.expect("pong", "ping 1")
		time.Sleep(pause)
		send(p, frame(continuation, []byte("3, ")), frame(continuation, []byte("4, ")), whole(ping, "ping 2"), whole(continuation, "5"))
		p.expect("pong", "ping 2")
		p.expect("text", "1, 2, 3, 4, 5")
		p.leave()
		return ok
	}}
}

func fragmentedByTheSender() group {
	g := group{title: "Automatic fragmentation"}
	payload := strings.Repeat("*", 65536)
	g.add("10.1", echo("text message of 65536 bytes in fragments of 1300 bytes", "text", payload, func(p *peer) {
		p.sendEach(fragments(text, []byte(payload), 1300)...)
	}))
	return g
}
