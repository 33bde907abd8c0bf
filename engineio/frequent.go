package engineio

import (
	"hash/maphash"
	"sync/atomic"
)

// frequent detects header lines that occur often. It takes a fixed amount of memory and is approximate: it may confuse
// two lines, or forget a frequent one. It is safe for concurrent use.
type frequent struct {
	seed maphash.Seed
	sets [1024]lineSet
}

// lineSet counts the lines with the same part of their hash. All clients send some twenty common lines: with a single
// place per set, two of these would sometimes keep displacing each other.
//
// A place holds a count in the lowest byte, and bits of the line's hash above it. A new line first decrements the count
// of another, so rare lines do not displace frequent ones.
type lineSet [4]atomic.Uint32

// often is the count from which a line is frequent. The cookie of a client that reconnects a few times is not.
const often = 8

func newFrequent() *frequent { return &frequent{seed: maphash.MakeSeed()} }

// add counts a field with these values and reports whether it is frequent.
func (f *frequent) add(name string, values ...string) bool {
	var h maphash.Hash
	h.SetSeed(f.seed)
	for _, s := range values {
		_, _ = h.WriteString(s) // never fails
		_ = h.WriteByte(0)
	}
	_, _ = h.WriteString(name)
	sum := h.Sum64()
	return f.sets[sum%uint64(len(f.sets))].add(uint32(sum>>32) &^ 0xFF)
}

// add counts tag. Losing the count of a concurrent call does no harm.
func (s *lineSet) add(tag uint32) bool {
	least := &s[0]
	for i := range s {
		place := &s[i]
		old := place.Load()
		count := old & 0xFF
		if count > 0 && old&^0xFF == tag {
			if count < 0xFF {
				count++
				place.Store(tag | count)
			}
			return count >= often
		}
		if count < least.Load()&0xFF {
			least = place
		}
	}
	if old := least.Load(); old&0xFF > 0 {
		least.Store(old - 1)
	} else {
		least.Store(tag | 1)
	}
	return false
}
