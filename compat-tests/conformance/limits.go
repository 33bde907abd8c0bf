package main

import (
	"fmt"
	"strings"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// size writes n as people do.
func size(n int) string {
	switch {
	case n >= mib && n%mib == 0:
		return fmt.Sprint(n/mib, " MiB")
	case n >= kib && n%kib == 0:
		return fmt.Sprint(n/kib, " KiB")
	}
	return fmt.Sprint(n, " bytes")
}

func limits(messages int) group {
	g := group{title: "Limits"}
	for i, kind := range []struct {
		op   byte
		name string
		unit string
	}{{text, "text", "*"}, {binaryData, "binary", "\xfe"}} {
		number := func(n int) string { return fmt.Sprint("9.", n+i) }
		payload := func(n int) string { return strings.Repeat(kind.unit, n) }
		var large, inFragments, inPieces, many []testCase
		for _, n := range []int{64 * kib, 256 * kib, mib, 4 * mib, 8 * mib, 16 * mib} {
			large = append(large, echo(fmt.Sprintf("%s message of %s", kind.name, size(n)), kind.name, payload(n), func(p *peer) {
				p.send(whole(kind.op, payload(n)))
			}))
		}
		for n := 64; n <= 4*mib; n *= 4 {
			c := echo(fmt.Sprintf("%s message of 4 MiB in fragments of %s", kind.name, size(n)), kind.name, payload(4*mib), func(p *peer) {
				p.send(fragments(kind.op, []byte(payload(4*mib)), n)...)
			})
			if 4*mib/n > maxFragments {
				c = tooManyFragments(c)
			}
			inFragments = append(inFragments, c)
		}
		for n := 64; n <= 2*kib; n *= 2 {
			inPieces = append(inPieces, echo(fmt.Sprintf("%s message of 1 MiB in pieces of %s", kind.name, size(n)), kind.name, payload(mib), func(p *peer) {
				p.sendChopped(n, whole(kind.op, payload(mib)))
			}))
		}
		for _, n := range []int{0, 16, 64, 256, kib, 4 * kib} {
			many = append(many, testCase{
				what: fmt.Sprintf("many %s messages of %s, each after the last has come back", kind.name, size(n)),
				want: "the messages",
				run: func(p *peer) verdict {
					for range messages {
						p.send(whole(kind.op, payload(n)))
						p.expect(kind.name, payload(n))
					}
					p.leave()
					return ok
				},
			})
		}
		g.add(number(1), large...)
		g.add(number(3), inFragments...)
		g.add(number(5), inPieces...)
		g.add(number(7), many...)
	}
	return g
}

// maxFragments is how many fragments of a message ws accepts by default, and so does this server.
const maxFragments = 16 << 10

// tooManyFragments is c where a server may set a limit to the number of fragments.
//
// RFC 6455 section 10.4.
func tooManyFragments(c testCase) testCase {
	run := c.run
	c.want += ", or close 1008"
	c.run = func(p *peer) (v verdict) {
		defer func() {
			if e, ok := recover().(failure); ok {
				if !strings.HasPrefix(string(e), "close 1008") {
					panic(e)
				}
				p.ends()
				v = limited
			}
		}()
		return run(p)
	}
	return c
}
