package parser

import (
	"bytes"
	"math"
	"slices"
	"strconv"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

// rewriter copies JSON text in the form that JavaScript produces by decoding and encoding it: without white space, with
// strings and numbers as JavaScript writes them, and with only the last of several members with the same name. Text that
// already has this form, as nearly all text does, is scanned once and copied in one piece.
//
// There are two uses. In a received packet with attachments, placeholders get the canonical spelling; numbers are not
// changed, because handlers may need their digits. In values that are passed on, placeholders also get the numbers of the
// attachments in the new packet.
type rewriter struct {
	text []byte
	done int // text[:done] has been copied or omitted
	out  []byte

	n        int  // number of attachments
	received bool // the text is part of a received packet
	illegal  bool // a placeholder refers to no attachment

	// For values that are passed on: their attachments, the attachments of the new packet, and the number of each one in
	// the new packet, plus one.
	from, to [][]byte
	moved    [8]int
	more     []int // replaces moved if there are more attachments
}

// member is a member of an object: the indices in the output of its name and of the end of the name.
type member struct{ start, colon int }

// canonical returns a copy of a checked JSON text from a peer in which every placeholder has the
// canonical spelling. ok is false if one does not refer to one of n attachments.
//
// As in JavaScript after JSON.parse, a placeholder is an object whose last member "_placeholder" is true; it may have other
// members. Its number is the last member "num".
func canonical(text []byte, n int) (out []byte, ok bool) {
	r := rewriter{text: text, out: make([]byte, 0, len(text)), n: n, received: true}
	r.rewrite()
	return r.out, !r.illegal
}

// passOn appends the text of v, a value or the rest of an array, to text. It appends the attachments that v refers to to all,
// each once, in the order of their first use.
func passOn(text []byte, all [][]byte, v Value) ([]byte, [][]byte) {
	r := rewriter{text: v.Data, out: text, n: len(v.Attachments), from: v.Attachments, to: all}
	if r.n > len(r.moved) {
		r.more = make([]int, r.n)
	}
	r.rewrite()
	return r.out, r.to
}

func (r *rewriter) rewrite() {
	var few [32]member // enough for most objects and those around them
	i := r.space(0)
	for i < len(r.text) {
		if c := r.text[i]; c == ',' || c == ']' {
			i = r.space(i + 1)
		} else {
			i = r.space(r.value(i, few[:0]))
		}
	}
	r.copyTo(len(r.text))
}

// at returns the index in the output that corresponds to text[i].
func (r *rewriter) at(i int) int { return len(r.out) + i - r.done }

// written returns a part of the output, including text that has not been copied yet.
func (r *rewriter) written(start, end int) []byte {
	if n := len(r.out); start >= n {
		return r.text[r.done+start-n : r.done+end-n]
	}
	return r.out[start:end]
}

// copyTo copies the text in front of text[i].
func (r *rewriter) copyTo(i int) {
	r.out = append(r.out, r.text[r.done:i]...)
	r.done = i
}

// space skips white space at text[i] and returns the index after it.
func (r *rewriter) space(i int) int {
	end := jsontext.SkipSpace(r.text, i)
	if end > i {
		r.copyTo(i)
		r.done = end
	}
	return end
}

// comma is like space, and also skips a comma between elements.
func (r *rewriter) comma(i int) int {
	if i = r.space(i); r.text[i] == ',' {
		i = r.space(i + 1)
	}
	return i
}

// value rewrites the value at text[i] and returns the index after it. around are the members so far of the enclosing object;
// nested objects use the free memory after them. value recurses to the depth of the text, which the decoder has limited.
func (r *rewriter) value(i int, around []member) (end int) {
	switch c := r.text[i]; {
	case c == '"':
		_, end = r.string(i)
		return end
	case c == '[':
		for i = r.space(i + 1); r.text[i] != ']'; {
			i = r.comma(r.value(i, around))
		}
		return i + 1
	case c == '{':
		return r.object(i, around)
	case c >= 'a' || r.received:
		return jsontext.SkipScalar(r.text, i)
	}
	end = jsontext.SkipScalar(r.text, i)
	number := jsontext.Number(r.text[i:end])
	if &number[0] == &r.text[i] {
		return end
	}
	if number[len(number)-1] == 'y' { // Infinity
		number = []byte("null")
	}
	r.copyTo(i)
	r.out = append(r.out, number...)
	r.done = end
	return end
}

// string returns the rewritten string at text[i], and the index after it.
func (r *rewriter) string(i int) (written []byte, end int) {
	end, escaped := jsontext.ScanString(r.text, i)
	if !escaped {
		return r.text[i:end], end
	}
	r.copyTo(i)
	start := len(r.out)
	r.out = jsontext.AppendNormal(r.out, r.text[i+1:end-1])
	r.done = end
	return r.out[start:], end
}

func (r *rewriter) object(i int, around []member) (end int) {
	if num, end, ok := placeholderAt(r.text, i, r.n); ok {
		if !r.received {
			r.copyTo(i)
			r.out = appendPlaceholder(r.out, r.moveAttachment(num))
			r.done = end
		}
		return end
	}
	var (
		start       = r.at(i)
		members     = around[len(around):]
		seen        [8]uint64 // a bit for each hash of a name
		last        = -1      // the last name as an array index; math.MaxInt after a name that is none
		sorted      = true    // the members have the same order in JavaScript
		illegal     = r.illegal
		placeholder bool
		num         []byte
	)
	for i = r.space(i + 1); r.text[i] != '}'; {
		m := member{start: r.at(i)}
		name, behind := r.string(i)
		m.colon = m.start + len(name)
		index := elementIndex(name)
		if index > last {
			last = index
		} else {
			sorted = sorted && index < 0 && !r.isTwin(name, members, &seen)
			last = math.MaxInt
		}
		members = append(members, m)
		value := r.space(r.space(behind) + 1)
		i = r.value(value, members)
		if r.received {
			switch string(name) {
			case `"_placeholder"`:
				placeholder = r.text[value] == 't'
			case `"num"`:
				num = r.text[value:i]
			}
		}
		i = r.comma(i)
	}
	end = i + 1
	switch {
	case placeholder:
		// The whole object is replaced.
		k, ok := attachmentNumber(num, r.n)
		r.illegal = illegal || !ok
		r.copyTo(end)
		r.out = appendPlaceholder(r.out[:start], k)
	case !sorted || len(members) > maxCompared:
		// Names after maxCompared have not been compared.
		r.copyTo(end)
		r.sort(start, members)
	}
	if !placeholder && len(r.out) > start { // the object has been changed
		r.copyTo(end)
		r.out = disguise(r.out, start)
	}
	return end
}

// maxCompared is the number of members up to which names are compared with earlier ones.
const maxCompared = 256

// isTwin reports whether a member has this name. It adds the hash of the name to seen, the hashes of the members' names, so
// few names must be compared.
func (r *rewriter) isTwin(name []byte, members []member, seen *[8]uint64) bool {
	n := len(name)
	hash := (n ^ int(name[1])<<1 ^ int(name[n/2])<<3 ^ int(name[n-2])<<5) & 511
	bit := uint64(1) << (hash & 63)
	if seen[hash>>6]&bit == 0 || len(members) >= maxCompared {
		seen[hash>>6] |= bit
		return false
	}
	for _, m := range members {
		if m.colon-m.start == n && string(r.written(m.start, m.colon)) == string(name) {
			return true
		}
	}
	return false
}

// sort sorts the members of the object at out[start] as in JavaScript: array indices by number, then other names in the order
// of their first occurrence, each with its last value.
//
// ECMAScript, OrdinaryOwnPropertyKeys.
func (r *rewriter) sort(start int, members []member) {
	object := bytes.Clone(r.out[start:])
	type entry struct {
		text  []byte
		index int
	}
	place := make(map[string]int, len(members))
	var entries []entry
	for i, m := range members {
		end := len(object) - 1 // before the brace or the comma
		if i+1 < len(members) {
			end = members[i+1].start - start - 1
		}
		name := object[m.start-start : m.colon-start]
		k, ok := place[string(name)]
		if !ok {
			k = len(entries)
			place[string(name)] = k
			entries = append(entries, entry{index: elementIndex(name)})
		}
		entries[k].text = object[m.start-start : end]
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		if a.index >= 0 && b.index >= 0 {
			return a.index - b.index
		}
		return min(b.index, 0) - min(a.index, 0)
	})
	r.out = append(r.out[:start], '{')
	for i, e := range entries {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, e.text...)
	}
	r.out = append(r.out, '}')
}

// elementIndex returns the array index that a quoted name is in JavaScript, or -1.
func elementIndex(name []byte) int {
	n := len(name) - 2
	if name[1]-'0' > 9 || n > 10 || name[1] == '0' && n > 1 {
		return -1
	}
	index, err := strconv.ParseUint(string(name[1:n+1]), 10, 64)
	if err != nil || index >= math.MaxUint32 {
		return -1
	}
	return int(index)
}

// moveAttachment adds an attachment to the new packet unless it is present, and returns its number.
func (r *rewriter) moveAttachment(num int) int {
	moved := r.more
	if moved == nil {
		moved = r.moved[:]
	}
	if moved[num] == 0 {
		r.to = append(r.to, r.from[num])
		moved[num] = len(r.to)
	}
	return moved[num] - 1
}

// disguise makes sure that the object from out[start] to the end of out is not taken for a placeholder. Only the canonical
// spelling is one.
func disguise(out []byte, start int) []byte {
	if _, _, ok := placeholderAt(out, start, math.MaxInt); ok {
		out = slices.Insert(out, start+1, ' ')
	}
	return out
}

// attachmentNumber returns the value of the member "num" of a placeholder. It refuses a fraction, which would yield undefined
// in JavaScript.
func attachmentNumber(num []byte, n int) (k int, ok bool) {
	if !jsontext.IsNumber(num) {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(num), 64)
	if err != nil || f < 0 || f >= float64(n) || f != float64(int(f)) {
		return 0, false
	}
	return int(f), true
}
