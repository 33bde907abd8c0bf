package epoll

import "time"

// timers holds the deadlines of a loop's closing connections. All have the same time-out, so the first entry is
// always due first. Entries hold identities instead of connections: most connections have closed long before.
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
