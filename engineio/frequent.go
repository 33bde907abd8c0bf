package engineio

import (
	"hash/maphash"
	"sync/atomic"
)

// frequent knows what has been seen often, within fixed memory and with errors: two lines may be taken for one,
// and what has been seen often may be forgotten. It is safe for concurrent use.
type frequent struct {
	seed maphash.Seed
	sets [1024]lineSet
}

// lineSet has the lines with one part of the hash. There are several places, since the lines that all clients send
// are some twenty: with one place for each part, two of them would now and then take it from each other for ever.
//
// A place has a count in the lowest byte and above that bits of the hash of what is counted. What is
// seen only once takes from the count of another, so that it cannot push out what is frequent.
type lineSet [4]atomic.Uint32

// often is the count from which on something is frequent. A client that connects again a few times must
// not make its cookie so.
const often = 8

func newFrequent() *frequent { return &frequent{seed: maphash.MakeSeed()} }

// add notes that a field with these values has been seen and reports whether it is frequent.
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

// add counts tag. That another goroutine's count may get lost does no harm.
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
