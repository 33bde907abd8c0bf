package main

import (
	"bytes"
	"fmt"
	"strings"
)

const preamble = `<!-- Made by compat-tests/conformance; not to be edited. -->

# Conformance of WebSockets

How the WebSocket transport does in cases of RFC 6455 and, in groups 12 and 13, RFC 7692. Their numbers and subjects are those of the
published Autobahn test suite; the program that tries them is ours (` + "`make conformance`" + `). The judge is the ws package of
Node.js, which the reference server uses: it is tried with the same cases.

- **ok**: what the protocol demands.
- **non-strict**: allowed, but others notice an error earlier: both validate a text when it is complete.
- **limited**: the case exceeds a limit that both set, to 16,384 fragments of a message.
- **informational**: the protocol leaves the outcome open.

`

// writeTable returns CONFORMANCE.md.
func writeTable(all []group, targets []*target, results map[key]result) []byte {
	var b bytes.Buffer
	b.WriteString(preamble)
	var names, lines []string
	for _, t := range targets {
		names = append(names, t.name)
		lines = append(lines, "---")
	}
	fmt.Fprintf(&b, "| Group | Cases | %s |\n|---|---|%s|\n", strings.Join(names, " | "), strings.Join(lines, "|"))
	for _, g := range all {
		var counts []string
		for _, t := range targets {
			counts = append(counts, count(g, t, results))
		}
		fmt.Fprintf(&b, "| %s. %s | %d | %s |\n", g.number(), g.title, len(g.cases), strings.Join(counts, " | "))
	}
	for _, g := range all {
		fmt.Fprintf(&b, "\n## %s. %s\n\n| Case | The client sends | The server answers | %s |\n|---|---|---|%s|\n",
			g.number(), g.title, strings.Join(names, " | "), strings.Join(lines, "|"))
		for _, c := range g.cases {
			var verdicts []string
			for _, t := range targets {
				verdicts = append(verdicts, string(results[key{c.id, t.name}].verdict))
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.id, c.what, c.want, strings.Join(verdicts, " | "))
		}
	}
	return b.Bytes()
}

// count is the number of cases of a group by verdict.
func count(g group, t *target, results map[key]result) string {
	counts := make(map[verdict]int)
	for _, c := range g.cases {
		counts[results[key{c.id, t.name}].verdict]++
	}
	var parts []string
	for _, v := range []verdict{ok, nonStrict, limited, informational} {
		if counts[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[v], v))
		}
	}
	return strings.Join(parts, ", ")
}
