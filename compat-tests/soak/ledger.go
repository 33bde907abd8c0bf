package soak

import (
	"fmt"
	"slices"
	"sync"
)

// ledger records the numbered events that clients send, that handlers receive and that are acknowledged. It checks that
// each is handled once and in order, that no event is acknowledged but not handled, and that all events of a client
// that left properly are handled. Its zero value is ready for use.
type ledger struct {
	mu      sync.Mutex
	records map[string]*record
	total   int // events handled
}

// record holds the number of the last event sent, handled and acknowledged. The first is 1.
type record struct {
	sent, handled, acked int
	complete             bool   // the client left properly
	reason               string // of its disconnection, when that was handled
}

func (l *ledger) of(key string) *record {
	if l.records == nil {
		l.records = make(map[string]*record)
	}
	r := l.records[key]
	if r == nil {
		r = new(record)
		l.records[key] = r
	}
	return r
}

// send returns the number of the next event of a client.
func (l *ledger) send(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of(key)
	r.sent++
	return r.sent
}

// handle records that an event is handled. It returns an error if it is not the next one.
func (l *ledger) handle(key string, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of(key)
	switch {
	case n != r.handled+1:
		return fmt.Errorf("event %d of client %s is handled after event %d", n, key, r.handled)
	case r.reason != "":
		return fmt.Errorf("event %d of client %s is handled after the handlers for its disconnection", n, key)
	}
	r.handled = n
	l.total++
	return nil
}

// acknowledge records that a client received an acknowledgement.
func (l *ledger) acknowledge(key string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of(key)
	r.acked = max(r.acked, n)
}

// leave records that a client left properly.
func (l *ledger) leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(key).complete = true
}

// disconnect records that the disconnection of a client is handled. No event may be handled afterwards.
func (l *ledger) disconnect(key, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(key).reason = reason
}

// reason returns the reason of a client's disconnection, or "" if that has not been handled.
func (l *ledger) reason(key string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(key).reason
}

// settle returns the events and calls that are missing after all handlers have returned, and forgets all clients. A
// disconnection for the reason excused may precede a client's last events.
func (l *ledger) settle(excused string) (missing []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, r := range l.records {
		switch {
		case r.acked > r.handled:
			missing = append(missing, fmt.Sprintf("event %d of client %s was acknowledged, but the last one handled is %d", r.acked, key, r.handled))
		case r.complete && r.handled < r.sent && (r.reason == "" || r.reason != excused):
			missing = append(missing, fmt.Sprintf("client %s sent %d events and left in order, but only %d were handled (%s)", key, r.sent, r.handled, r.reason))
		}
	}
	l.records = nil
	slices.Sort(missing)
	return missing
}

// sequence checks that numbers are consecutive. The first may be any.
type sequence struct {
	begun bool
	last  int
}

func (s *sequence) next(n int) error {
	if s.begun && n != s.last+1 {
		return fmt.Errorf("broadcast %d comes after %d", n, s.last)
	}
	s.begun, s.last = true, n
	return nil
}
