package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// kosme is a Greek word with characters of 2 and 3 bytes, used in UTF-8 tests since Markus Kuhn's.
const kosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"

func utf8Handling() group {
	g := group{title: "UTF-8"}
	const valid = "Hello-µ@ßöäüàá-UTF-8!!"
	byBytes := func(s string) [][]byte { return fragments(text, []byte(s), 1) }
	g.add("6.1",
		echo("text without payload", "text", "", func(p *peer) { p.send(whole(text, "")) }),
		echo("text in 3 fragments without payload", "text", "", func(p *peer) {
			p.send(frame(text, nil), frame(continuation, nil), whole(continuation, ""))
		}),
		echo("text in 3 fragments, the first and the last without payload", "text", "middle", func(p *peer) {
			p.send(frame(text, nil), frame(continuation, []byte("middle")), whole(continuation, ""))
		}))
	boundary := strings.Index(valid, "ö")
	g.add("6.2",
		echo("valid text", "text", valid, func(p *peer) { p.send(whole(text, valid)) }),
		echo("valid text in 2 fragments, cut between characters", "text", valid, func(p *peer) {
			p.send(frame(text, []byte(valid[:boundary])), whole(continuation, valid[boundary:]))
		}),
		echo("valid text in fragments of 1 byte", "text", valid, func(p *peer) { p.send(byBytes(valid)...) }),
		echo("valid text of long characters in fragments of 1 byte", "text", kosme, func(p *peer) { p.send(byBytes(kosme)...) }))

	const broken = kosme + "\xed\xa0\x80edited"
	g.add("6.3",
		invalid("invalid text", func(p *peer) { p.send(whole(text, broken)) }),
		invalid("invalid text in fragments of 1 byte", func(p *peer) { p.send(byBytes(broken)...) }))

	const beyond, rest = "\xf4\x90\x80\x80", "edited" // U+110000, which shows in its second byte
	g.add("6.4",
		failsFast("text in 3 fragments, of which the second is invalid", kosme, beyond, rest, inFragments),
		failsFast("text in 3 fragments, of which the second ends with the byte that is invalid", kosme, beyond[:2], beyond[2:]+rest, inFragments),
		failsFast("text in 3 pieces of a frame, of which the second is invalid", kosme, beyond, rest, inPieces),
		failsFast("text in 3 pieces of a frame, of which the second ends with the byte that is invalid", kosme, beyond[:2], beyond[2:]+rest, inPieces))

	for i, s := range sequences() {
		var cases []testCase
		for _, payload := range s.payloads {
			what := fmt.Sprintf("%s: % x", s.title, payload)
			if len(payload) > 16 {
				what = fmt.Sprintf("%s: % x … (%d bytes)", s.title, payload[:8], len(payload))
			}
			send := func(p *peer) { p.send(whole(text, payload)) }
			if utf8.ValidString(payload) {
				cases = append(cases, echo(what, "text", payload, send))
			} else {
				cases = append(cases, invalid(what, send))
			}
		}
		g.add(fmt.Sprint("6.", 5+i), cases...)
	}
	return g
}

// invalid is a case in which the server closes the connection because a text is not UTF-8.
func invalid(what string, send func(p *peer)) testCase { return closes(what, send, 1007) }

// inFragments sends parts of a text as frames, inPieces as parts of one frame. The parts are sent one by one.
func inFragments(parts ...string) [][]byte {
	return [][]byte{frame(text, []byte(parts[0])), frame(continuation, []byte(parts[1])), whole(continuation, parts[2])}
}

func inPieces(parts ...string) (pieces [][]byte) {
	b := whole(text, strings.Join(parts, ""))
	for i := range parts {
		rest := len(strings.Join(parts[i+1:], ""))
		pieces = append(pieces, b[:len(b)-rest])
		b = b[len(b)-rest:]
	}
	return pieces
}

// failsFast is a case in which the second of three parts makes a text invalid. A server that reports it only after the whole
// text is not strict.
func failsFast(what, a, b, c string, divide func(parts ...string) [][]byte) testCase {
	return testCase{what: what, want: "close 1007, after the second", run: func(p *peer) verdict {
		parts := divide(a, b, c)
		p.send(parts[0])
		if !p.quiet(pause) {
			fail("%v after a valid beginning", p.next())
		}
		p.send(parts[1])
		v := ok
		if p.quiet(pause) {
			v = nonStrict
			p.send(parts[2])
		}
		p.closed(1007)
		return v
	}}
}

// overlong returns the encodings of 2 to 6 bytes of a character with this last byte.
func overlong(last string) (forms []string) {
	for _, start := range []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80"} {
		forms = append(forms, start+last)
	}
	return forms
}

type sequence struct {
	title    string
	payloads []string
}

// sequences returns texts around the borders of UTF-8, as in Markus Kuhn's "UTF-8 decoder capability and stress test".
// unicode/utf8 decides which of them are valid.
func sequences() []sequence {
	var prefixes, starts []string
	for i := range len(kosme) {
		prefixes = append(prefixes, kosme[:i+1])
	}
	run := func(from, to int, between string) string {
		var s []byte
		for b := from; b < to; b++ {
			s = append(append(s, byte(b)), between...)
		}
		return string(s)
	}
	for _, r := range [][2]int{{0xC0, 0xDF}, {0xE0, 0xEF}, {0xF0, 0xF7}, {0xF8, 0xFB}, {0xFC, 0xFD}} {
		starts = append(starts, run(r[0], r[1], " "))
	}
	incomplete := []string{
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
	}
	continuations := []string{"\x80", "\xbf"}
	for n := 2; n <= 6; n++ {
		continuations = append(continuations, strings.Repeat("\x80\xbf", 3)[:n])
	}
	var paired []string
	for _, high := range []string{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf"} {
		for _, low := range []string{"\xed\xb0\x80", "\xed\xbf\xbf"} {
			paired = append(paired, high+low)
		}
	}
	nonCharacters := []string{"\ufffe", "\uffff"}
	for plane := range rune(16) {
		nonCharacters = append(nonCharacters, string((plane+1)<<16|0xFFFE), string((plane+1)<<16|0xFFFF))
	}
	return []sequence{
		{"valid", []string{"hello$world", "hello¢world", "hello€world", "hello\U00024B62world", kosme}},
		{"beginning of a valid text", prefixes},
		{"first of a length", []string{"\x00", "\u0080", "\u0800", "\U00010000"}},
		{"first of a length that is too long", []string{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"}},
		{"last of a length", []string{"\x7f", "\u07ff", "\uffff", "\U0010ffff"}},
		{"last of a length, too large", []string{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"}},
		{"border", []string{"\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "\xf4\x90\x80\x80"}},
		{"continuation bytes", append(continuations, run(0x80, 0xBF, ""))},
		{"start bytes", starts},
		{"last byte missing", incomplete},
		{"last bytes missing", []string{strings.Join(incomplete, "")}},
		{"impossible bytes", []string{"\xfe", "\xff", "\xfe\xfe\xff\xff"}},
		{"slash, too long", overlong("\xaf")},
		{"largest that is too long", []string{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"}},
		{"NUL, too long", overlong("\x80")},
		{"surrogate", []string{
			"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf",
		}},
		{"two surrogates", paired},
		{"not a character", nonCharacters},
		{"special", []string{"\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"}},
	}
}
