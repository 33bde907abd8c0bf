package epoll

import "time"

// timers says when the connections of a loop that are closing have to be gone. All have the same time
// from when they were added, so that the first is always due first. It keeps identities and not
// connections: most have closed long before.
type timers struct {
	entries []timer
	first   int
}

type timer struct {
	slot, generation uint32
	at               time.Duration // on the clock of the process
}

var epoch = time.Now()

func (t *timers) empty() bool { return len(t.entries) == 0 }

func (t *timers) add(slot, generation uint32, after time.Duration) {
	t.entries = append(t.entries, timer{slot, generation, time.Since(epoch) + after})
}

// next returns the first entry. t is not empty.
func (t *timers) next() timer { return t.entries[t.first] }

// drop removes the first entry.
func (t *timers) drop() {
	t.first++
	switch {
	case t.first == len(t.entries):
		*t = timers{}
	case t.first >= 1024 && t.first > len(t.entries)/2:
		t.entries = append([]timer(nil), t.entries[t.first:]...)
		t.first = 0
	}
}

// deadline returns when the first entry is due, or the zero time if there is none.
func (t *timers) deadline() time.Time {
	if t.empty() {
		return time.Time{}
	}
	return epoch.Add(t.next().at)
}
