// Package idtable is a hash table of values that hold their own ids.
//
// A map[string]T stores each id a second time and has spare capacity: at 41 bytes per entry, a map of a million
// entries would take a twentieth of the memory of the idle connections. A Table stores the values with 32 bits of
// each id's hash, 18 bytes per value on average, and releases memory when it shrinks.
package idtable

import (
	"hash/maphash"
	"slices"
)

// Value is an element of a Table, usually a pointer. The zero value must not be stored. ID must not change.
type Value interface {
	comparable
	ID() string
}

// Table holds one value for each id. The zero value is ready for use. It is not safe for concurrent use, except
// that any number of goroutines may read it at once.
type Table[T Value] struct {
	count  int
	hashes []uint32
	values []T // open addressing, linear probing: there is no gap between a value and its home
}

var seed = maphash.MakeSeed()

const (
	minSize = 8
	// A table grows by half when more than maxLoad/16 of its places are in use, and shrinks below minLoad/16.
	maxLoad = 13
	minLoad = 4
)

// Len returns the number of values.
func (t *Table[T]) Len() int { return t.count }

// Get returns the value with this id, or the zero value.
func (t *Table[T]) Get(id string) T {
	if i, ok := t.find(hash(id), id); ok {
		return t.values[i]
	}
	var none T
	return none
}

// Put adds v. It returns the value with the same id that v replaces, or the zero value.
func (t *Table[T]) Put(v T) (old T) {
	h := hash(v.ID())
	i, ok := t.find(h, v.ID())
	if ok {
		old, t.values[i] = t.values[i], v
		return old
	}
	if (t.count+1)*16 > len(t.values)*maxLoad {
		t.resize(max(len(t.values)+len(t.values)/2, minSize))
	}
	t.insert(h, v)
	t.count++
	return old
}

// Delete removes v and reports whether it was present. Another value with the same id stays.
func (t *Table[T]) Delete(v T) bool {
	i, ok := t.find(hash(v.ID()), v.ID())
	if !ok || t.values[i] != v {
		return false
	}
	t.count--
	t.close(i)
	switch size := len(t.values); {
	case t.count == 0:
		*t = Table[T]{}
	case size > minSize && t.count*16 < size*minLoad:
		t.resize(max(size/2, minSize))
	}
	return true
}

// AppendTo appends all values to dst, in no particular order.
func (t *Table[T]) AppendTo(dst []T) []T {
	var none T
	dst = slices.Grow(dst, t.Len())
	for _, v := range t.values {
		if v != none {
			dst = append(dst, v)
		}
	}
	return dst
}

func hash(id string) uint32 { return uint32(maphash.String(seed, id) >> 32) }

// home returns the preferred place of a value with hash h.
func (t *Table[T]) home(h uint32) int { return int(uint64(h) * uint64(len(t.values)) >> 32) }

// next returns the place after i.
func (t *Table[T]) next(i int) int {
	if i++; i < len(t.values) {
		return i
	}
	return 0
}

// find returns the place of the value with this id.
func (t *Table[T]) find(h uint32, id string) (i int, ok bool) {
	if t.count == 0 {
		return 0, false
	}
	var none T
	for i = t.home(h); t.values[i] != none; i = t.next(i) {
		if t.hashes[i] == h && t.values[i].ID() == id {
			return i, true
		}
	}
	return 0, false
}

// insert puts v, which must be absent, into the first free place.
func (t *Table[T]) insert(h uint32, v T) {
	var none T
	i := t.home(h)
	for t.values[i] != none {
		i = t.next(i)
	}
	t.hashes[i], t.values[i] = h, v
}

// close empties place i and moves later values so that no gap precedes them.
func (t *Table[T]) close(i int) {
	var none T
	for j := t.next(i); t.values[j] != none; j = t.next(j) {
		// The value at j may move to i unless its home is between the two.
		if home := t.home(t.hashes[j]); t.distance(home, j) >= t.distance(i, j) {
			t.hashes[i], t.values[i] = t.hashes[j], t.values[j]
			i = j
		}
	}
	t.values[i] = none
}

// distance returns the number of steps from i to j.
func (t *Table[T]) distance(i, j int) int {
	if j < i {
		j += len(t.values)
	}
	return j - i
}

func (t *Table[T]) resize(size int) {
	var none T
	old := *t
	t.hashes, t.values = make([]uint32, size), make([]T, size)
	for i, v := range old.values {
		if v != none {
			t.insert(old.hashes[i], v)
		}
	}
}
