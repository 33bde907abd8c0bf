package main

import (
	"fmt"
	"strings"
)

// closes is a case in which the client sends a close frame, perhaps followed by bytes without effect, and the server answers
// with one of codes.
func closes(what string, send func(p *peer), codes ...uint16) testCase {
	want := "close"
	if codes[0] != 0 {
		want = fmt.Sprint("close ", codes[0])
	}
	return testCase{what: what, want: want, run: func(p *peer) verdict {
		send(p)
		p.closed(codes...)
		return ok
	}}
}

// open is a case whose outcome the protocol leaves open. The server must end the connection.
func open(what string, send func(p *peer)) testCase {
	return testCase{what: what, want: "the end", run: func(p *peer) verdict {
		send(p)
		for {
			if e := p.next(); e.kind == "end" || e.kind == "reset" {
				return informational
			}
		}
	}}
}

func closeHandling() group {
	g := group{title: "Closing"}
	bye := closeFrame(1000, "")
	g.add("7.1",
		testCase{what: "text, close", want: "the message, then close 1000", run: func(p *peer) verdict {
			p.send(whole(text, "Hello"), bye)
			p.expect("text", "Hello")
			p.closed(1000)
			return ok
		}},
		closes("close twice", func(p *peer) { p.send(bye, bye) }, 1000),
		closes("close, ping", func(p *peer) { p.send(bye, whole(ping, "")) }, 1000),
		closes("close, text", func(p *peer) { p.send(bye, whole(text, "Hello")) }, 1000),
		closes("a fragment of a text, close, the other fragment", func(p *peer) {
			p.send(frame(text, []byte("fragment 1")), bye, whole(continuation, "fragment 2"))
		}, 1000),
		open("text of 256 KB, close, ping", func(p *peer) {
			p.send(whole(text, strings.Repeat("*", 256<<10)), bye, whole(ping, ""))
		}))

	longest := strings.Repeat("*", 123)
	g.add("7.3",
		closes("close without payload", func(p *peer) { p.send(whole(closing, "")) }, 0, 1000),
		refusal("close with 1 byte", func(p *peer) { p.send(whole(closing, "a")) }),
		closes("close with a code", func(p *peer) { p.send(bye) }, 1000),
		closes("close with a code and a reason", func(p *peer) { p.send(closeFrame(1000, "Hello, world!")) }, 1000),
		closes("close with a code and a reason of 123 bytes", func(p *peer) { p.send(closeFrame(1000, longest)) }, 1000),
		refusal("close with a code and a reason of 124 bytes", func(p *peer) { p.send(closeFrame(1000, longest+"*")) }))

	g.add("7.5", closes("close with a reason that is not UTF-8", func(p *peer) {
		p.send(closeFrame(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"))
	}, 1007))

	var valid, invalid []testCase
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		valid = append(valid, closes(fmt.Sprintf("close %d", code), func(p *peer) { p.send(closeFrame(code, "")) }, code, 1000))
	}
	g.add("7.7", valid...)
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		invalid = append(invalid, refusal(fmt.Sprintf("close %d", code), func(p *peer) { p.send(closeFrame(code, "")) }))
	}
	g.add("7.9", invalid...)
	g.add("7.13",
		open("close 5000", func(p *peer) { p.send(closeFrame(5000, "")) }),
		open("close 65536 in 4 bytes", func(p *peer) { p.send(whole(closing, "\x00\x01\x00\x00")) }))
	return g
}
