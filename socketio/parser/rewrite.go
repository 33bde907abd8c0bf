package parser

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

// rewriter copies JSON text as a server passes it on that has decoded and encoded it: without white space, strings and
// numbers as JavaScript writes them, and of equal names in an object the last value only. Text that is written so
// already, as it nearly always is, is scanned once and copied in one piece.
//
// It runs in one of two places. A packet with attachments that a peer has sent is rewritten so that its placeholders
// have the canonical spelling; its numbers are left alone, because handlers may need their digits. Values that are
// passed on are rewritten with the numbers of their attachments in the new packet.
type rewriter struct {
	text []byte
	done int // what is in front of text[done] has been copied, or left out
	out  []byte

	members []member // of the objects that the scan is in, the outermost first

	n        int  // number of attachments that the text refers to
	received bool // whether the text has just come from a peer
	illegal  bool // a placeholder in it refers to no attachment

	// For values that are passed on: their attachments, those of the new packet, and where each one has gone, plus one.
	from, to [][]byte
	moved    []int
}

// member is a member of an object, by its indices in the output.
type member struct {
	start, colon, end int
	index             int // of an element, if the name is one; -1 if not
}

// canonical returns a copy of a checked JSON text from a peer in which every placeholder has the
// canonical spelling. ok is false if one does not refer to one of n attachments.
//
// What counts as a placeholder is what JavaScript sees after JSON.parse: an object, whatever else is
// in it, whose last member "_placeholder" is true; the number is its last member "num".
func canonical(text []byte, n int) (out []byte, ok bool) {
	r := rewriters.Get().(*rewriter)
	defer r.release()
	r.text, r.out = text, make([]byte, 0, len(text))
	r.n, r.received = n, true
	r.rewrite()
	return r.out, !r.illegal
}

// passOn appends v, whose text is one value or elements of an array with its end, to text, and the attachments that it
// refers to to all, each once and in the order in which the text mentions them.
func passOn(text []byte, all [][]byte, v Value) ([]byte, [][]byte) {
	r := rewriters.Get().(*rewriter)
	defer r.release()
	r.text, r.out = v.Data, text
	r.n, r.from, r.to = len(v.Attachments), v.Attachments, all
	r.moved = slices.Grow(r.moved, r.n)[:r.n]
	clear(r.moved)
	r.rewrite()
	return r.out, r.to
}

var rewriters = sync.Pool{New: func() any { return new(rewriter) }}

// maxPooledMembers is the number of members, or of attachments, up to which the memory for them is kept.
const maxPooledMembers = 128

func (r *rewriter) release() {
	kept := rewriter{members: r.members[:0], moved: r.moved[:0]}
	if cap(kept.members) > maxPooledMembers {
		kept.members = nil
	}
	if cap(kept.moved) > maxPooledMembers {
		kept.moved = nil
	}
	*r = kept
	rewriters.Put(r)
}

func (r *rewriter) rewrite() {
	i := r.space(0)
	for i < len(r.text) {
		if c := r.text[i]; c == ',' || c == ']' {
			i = r.space(i + 1)
		} else {
			i = r.space(r.value(i))
		}
	}
	r.copyTo(len(r.text))
}

// at returns the index in the output of what is at text[i].
func (r *rewriter) at(i int) int { return len(r.out) + i - r.done }

// written returns what has been, or will be, copied to a part of the output.
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

// space leaves out white space at text[i] and returns the index behind it.
func (r *rewriter) space(i int) int {
	end := jsontext.SkipSpace(r.text, i)
	if end > i {
		r.copyTo(i)
		r.done = end
	}
	return end
}

// comma is space, and takes a comma between elements with it.
func (r *rewriter) comma(i int) int {
	if i = r.space(i); r.text[i] == ',' {
		i = r.space(i + 1)
	}
	return i
}

// value rewrites the value at text[i] and returns the index behind it. It recurses as deep as the text is nested,
// which the decoder has limited.
func (r *rewriter) value(i int) (end int) {
	switch c := r.text[i]; {
	case c == '"':
		return r.string(i)
	case c == '[':
		for i = r.space(i + 1); r.text[i] != ']'; {
			i = r.comma(r.value(i))
		}
		return i + 1
	case c == '{':
		return r.object(i)
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

func (r *rewriter) string(i int) (end int) {
	end = jsontext.SkipString(r.text, i)
	if content := r.text[i+1 : end-1]; bytes.IndexByte(content, '\\') >= 0 {
		r.copyTo(i)
		r.out = jsontext.AppendNormal(r.out, content)
		r.done = end
	}
	return end
}

func (r *rewriter) object(i int) (end int) {
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
		base        = len(r.members)
		illegal     = r.illegal
		sorted      = true
		placeholder bool
		num         []byte
	)
	for i = r.space(i + 1); r.text[i] != '}'; {
		m := member{start: r.at(i), index: -1}
		i = r.string(i)
		m.colon = r.at(i)
		i = r.space(r.space(i) + 1)
		value := i
		i = r.value(i)
		m.end = r.at(i)
		name := r.written(m.start+1, m.colon-1)
		if len(name) > 0 && name[0]-'0' <= 9 {
			m.index = elementIndex(name)
		}
		if r.received {
			switch string(name) {
			case "_placeholder":
				placeholder = r.text[value] == 't'
			case "num":
				num = r.text[value:i]
			}
		}
		sorted = sorted && r.follows(m, r.members[base:])
		r.members = append(r.members, m)
		i = r.comma(i)
	}
	end = i + 1
	members := r.members[base:]
	switch {
	case placeholder:
		// The object is replaced as a whole: what is inside it does not matter.
		k, ok := attachmentNumber(num, r.n)
		r.illegal = illegal || !ok
		r.copyTo(end)
		r.out = appendPlaceholder(r.out[:start], k)
	case !sorted || len(members) > maxCompared:
		r.copyTo(end)
		r.sort(start, members)
	}
	if !placeholder && len(r.out) > start { // it has been changed
		r.copyTo(end)
		r.out = disguise(r.out, start)
	}
	r.members = r.members[:base]
	return end
}

// maxCompared is the number of members up to which each name is compared with those in front of it.
const maxCompared = 32

// follows reports whether m stands behind members in JavaScript, too. It does not compare names if there are many.
func (r *rewriter) follows(m member, members []member) bool {
	if len(members) == 0 {
		return true
	}
	if m.index >= 0 {
		last := members[len(members)-1].index
		return last >= 0 && last < m.index
	}
	if len(members) < maxCompared {
		name := r.written(m.start, m.colon)
		for _, other := range members {
			if other.colon-other.start == len(name) && string(r.written(other.start, other.colon)) == string(name) {
				return false
			}
		}
	}
	return true
}

// sort puts the members of the object that starts at out[start] in the order that they have in JavaScript: elements
// by their index, then the others in the order of their first appearance, each with its last value.
//
// ECMAScript, OrdinaryOwnPropertyKeys.
func (r *rewriter) sort(start int, members []member) {
	object := bytes.Clone(r.out[start:])
	place := make(map[string]int, len(members))
	kept := members[:0]
	for _, m := range members {
		name := string(object[m.start-start : m.colon-start])
		if k, ok := place[name]; ok {
			kept[k] = m
			continue
		}
		place[name] = len(kept)
		kept = append(kept, m)
	}
	slices.SortStableFunc(kept, func(a, b member) int {
		if a.index >= 0 && b.index >= 0 {
			return a.index - b.index
		}
		return min(b.index, 0) - min(a.index, 0)
	})
	r.out = append(r.out[:start], '{')
	for i, m := range kept {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, object[m.start-start:m.end-start]...)
	}
	r.out = append(r.out, '}')
}

// elementIndex returns the index of the element of an array that has this name, or -1.
func elementIndex(name []byte) int {
	if len(name) > 10 || name[0] == '0' && len(name) > 1 {
		return -1
	}
	n, err := strconv.ParseUint(string(name), 10, 64)
	if err != nil || n >= math.MaxUint32 {
		return -1
	}
	return int(n)
}

// moveAttachment adds an attachment to those of the new packet, unless it is there, and returns its number.
func (r *rewriter) moveAttachment(num int) int {
	if r.moved[num] == 0 {
		r.to = append(r.to, r.from[num])
		r.moved[num] = len(r.to)
	}
	return r.moved[num] - 1
}

// disguise sees to it that the object at the end of out that starts at out[start] is data, even if it looks like a
// placeholder: only the canonical spelling has a meaning.
func disguise(out []byte, start int) []byte {
	if _, _, ok := placeholderAt(out, start, math.MaxInt); ok {
		out = slices.Insert(out, start+1, ' ')
	}
	return out
}

// attachmentNumber returns the value of the member "num" of a placeholder. A fraction would be undefined in
// JavaScript; here it is refused.
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
