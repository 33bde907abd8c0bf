package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// volumes are the messages of the compression cases: their size and the size of their fragments, in bytes. 0 means unfragmented.
var volumes = []struct{ size, fragment int }{
	{16, 0}, {64, 0}, {256, 0}, {kib, 0}, {4 * kib, 0}, {8 * kib, 0}, {16 * kib, 0}, {32 * kib, 0}, {64 * kib, 0}, {128 * kib, 0},
	{8 * kib, 256}, {16 * kib, 256}, {32 * kib, 256}, {64 * kib, 256}, {128 * kib, 256},
	{128 * kib, kib}, {128 * kib, 4 * kib}, {128 * kib, 32 * kib},
}

// plainOffer is an offer that leaves everything to the server.
const plainOffer = "permessage-deflate; client_no_context_takeover; client_max_window_bits"

func compression(messages int) group {
	g := group{title: "Compression of different data"}
	for i, s := range []struct {
		what string
		op   byte
		data []byte
	}{
		{"JSON", text, jsonData()},
		{"a bitmap", binaryData, bitmapData()},
		{"prose", binaryData, []byte(proseData())},
		{"HTML", text, htmlData()},
		{"a document with images", binaryData, documentData()},
	} {
		g.add(fmt.Sprint("12.", i+1), compressed(s.what, plainOffer, s.op, s.data, messages)...)
	}
	return g
}

func compressionOffers(messages int) group {
	g := group{title: "Compression with different offers"}
	const noContext, bits9, bits15 = "; server_no_context_takeover", "; server_max_window_bits=9", "; server_max_window_bits=15"
	for i, o := range []struct{ what, offer string }{
		{"nothing asked", plainOffer},
		{"no context takeover", plainOffer + noContext},
		{"window of 9 bits", plainOffer + bits9},
		{"window of 15 bits", plainOffer + bits15},
		{"no context takeover, window of 9 bits", plainOffer + noContext + bits9},
		{"no context takeover, window of 15 bits", plainOffer + noContext + bits15},
		{"three offers", strings.Join([]string{plainOffer + noContext + bits9, plainOffer + noContext, plainOffer}, ", ")},
	} {
		g.add(fmt.Sprint("13.", i+1), compressed(o.what, o.offer, text, jsonData(), messages)...)
	}
	return g
}

// compressed returns the cases of messages with parts of data.
func compressed(what, offer string, op byte, data []byte, messages int) (cases []testCase) {
	kind := "text"
	if op == binaryData {
		kind = "binary"
	}
	for _, v := range volumes {
		name := fmt.Sprintf("%s, messages of %s", what, size(v.size))
		if v.fragment > 0 {
			name += fmt.Sprintf(" in fragments of %s", size(v.fragment))
		}
		cases = append(cases, testCase{what: name, want: "the messages", offer: offer, run: func(p *peer) verdict {
			if p.deflate == nil {
				fail("the extension is not accepted")
			}
			at := 0
			for range messages {
				payload := part(data, at, v.size, op == text)
				at += len(payload)
				b := p.deflate.compress(payload)
				length := max(len(b), 1)
				if v.fragment > 0 {
					length = v.fragment
				}
				p.send(fragments(rsv1|op, b, length)...)
				p.expect(kind, string(payload))
			}
			p.leave()
			return ok
		}})
	}
	return cases
}

// part returns n bytes of data from at on, beginning again at the end. Of a text it returns whole characters.
func part(data []byte, at, n int, whole bool) []byte {
	b := make([]byte, 0, n)
	for at %= len(data); len(b) < n; at = 0 {
		b = append(b, data[at:min(len(data), at+n-len(b))]...)
	}
	if whole {
		for !utf8.Valid(b) {
			b = b[:len(b)-1]
		}
	}
	return b
}

// The data are made anew in each run, always the same: 200 KiB to 1 MiB of the kinds that the published suite sends.

func source() *rand.Rand { return rand.New(rand.NewPCG(6455, 7692)) }

var syllables = strings.Fields("ba de fil gor hun jak lem mir nos pul qua rest sin tor ver wil zu ähr öde über ein und der sch ung lich keit")

// words returns prose without meaning.
func words(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		for range 1 + r.IntN(3) {
			b.WriteString(syllables[min(r.IntN(len(syllables)), r.IntN(len(syllables)))])
		}
		switch {
		case i == n-1:
		case r.IntN(12) == 0:
			b.WriteString(".\n")
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func proseData() string { return words(source(), 40_000) }

func jsonData() []byte {
	r := source()
	var records []any
	for i := range 1000 {
		records = append(records, map[string]any{
			"id": i, "name": words(r, 2), "text": words(r, 12), "price": float64(r.IntN(100_000)) / 100,
			"active": r.IntN(2) == 0, "position": []int{r.IntN(1000), r.IntN(1000)}, "parent": nil,
		})
	}
	b, _ := json.Marshal(records) // these values can be
	return b
}

func htmlData() []byte {
	r := source()
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html><body>\n")
	for i := range 1500 {
		fmt.Fprintf(&b, "<div class=\"row\" id=\"r%d\"><a href=\"/items/%d\">%s</a><p>%s</p></div>\n", i, r.IntN(1e6), words(r, 2), words(r, 15))
	}
	b.WriteString("</body></html>\n")
	return []byte(b.String())
}

// bitmapData returns 512 by 512 grey pixels: slopes with a little noise.
func bitmapData() []byte {
	r := source()
	b := make([]byte, 0, 512*512)
	for y := range 512 {
		for x := range 512 {
			b = append(b, byte((x+y)/4+(x/64^y/64)*8+r.IntN(4)))
		}
	}
	return b
}

// documentData returns 1 MiB of text alternating with bytes that cannot be compressed.
func documentData() []byte {
	r := source()
	var b []byte
	for len(b) < mib {
		b = fmt.Appendf(b, "%d 0 obj\n<< /Length %d >>\nstream\n", len(b), 4*kib)
		for range 512 {
			for v, i := r.Uint64(), 0; i < 8; i++ {
				b = append(b, byte(v>>(8*i)))
			}
		}
		b = append(append(b, "\nendstream\n"...), words(r, 200)...)
	}
	return b
}
