package subscribe

import (
	"sync"
	"sync/atomic"
	"time"
)

// Feed is a receiving connection as seen by its driver. Its methods may be called by any goroutine once Driver.Open
// has been called.
type Feed struct {
	r     *Receiver
	key   string
	conn  Conn
	since time.Time
	over  sync.Once
	why   error         // reason for giving it up
	done  chan struct{} // closed when the feed is given up
	ended chan struct{} // closed when nothing more is received and the names are being relocated

	quiet    atomic.Int32 // checks since the last sign of life
	busy     atomic.Bool  // a message is being delivered
	answered atomic.Bool  // the broker has answered

	names map[string]bool // values tell whether the name is confirmed; guarded by Receiver.mu
}

// Received delivers m to the members subscribed to m.Name. It waits for space. It returns false if the feed is
// given up meanwhile; m has then not reached all members.
func (f *Feed) Received(m Message) bool {
	f.Heard()
	f.busy.Store(true)
	defer f.busy.Store(false)
	for _, member := range f.r.members(m.Name) {
		if !member.owner.IsOwn(m.Payload) && !member.queue.add(m, f.done) {
			return false
		}
	}
	return true
}

// Insert is Received for a message from the driver itself. It does not wait.
func (f *Feed) Insert(m Message) {
	for _, member := range f.r.members(m.Name) {
		member.queue.insert(m)
	}
}

// Heard records that the broker is alive.
func (f *Feed) Heard() {
	f.quiet.Store(0)
	if !f.answered.Swap(true) {
		f.r.wakeUp()
	}
}

// Confirmed records that the messages of a name arrive from now on.
func (f *Feed) Confirmed(name string) {
	f.Heard()
	f.r.mu.Lock()
	_, ok := f.names[name]
	if ok {
		f.names[name] = true
	}
	f.r.mu.Unlock()
	if ok {
		f.r.tell(name)
	}
}

// Moved records that the connection no longer serves a name, which must be located again.
func (f *Feed) Moved(name string) { f.lose(errMoved, []string{name}) }

// Refused is Moved for a broker that has not named the refused name. It affects only unconfirmed names.
func (f *Feed) Refused() {
	f.lose(errMoved, f.list(func(confirmed bool) bool { return !confirmed }))
}

// list returns the names of f selected by which.
func (f *Feed) list(which func(confirmed bool) bool) (names []string) {
	f.r.mu.RLock()
	defer f.r.mu.RUnlock()
	for name, confirmed := range f.names {
		if which(confirmed) {
			names = append(names, name)
		}
	}
	return names
}

// lose removes names from f and schedules them to be located again.
func (f *Feed) lose(err error, names []string) {
	r, lost := f.r, make(map[*Member]struct{})
	r.mu.Lock()
	for _, name := range names {
		confirmed, ok := f.names[name]
		if !ok {
			continue
		}
		delete(f.names, name)
		delete(r.placed, name)
		r.changed[name] = struct{}{}
		if confirmed {
			for _, m := range r.wanted[name] {
				lost[m] = struct{}{}
			}
		}
	}
	r.mu.Unlock()
	r.fail(err)
	for m := range lost {
		m.owner.Lost()
	}
}

// Dropped reports that the driver had no space for count messages of a name.
func (f *Feed) Dropped(name string, count int) {
	for _, m := range f.r.members(name) {
		m.owner.Dropped(count)
	}
}

// receive runs until the connection fails or is closed.
func (f *Feed) receive() {
	f.giveUp(f.conn.Receive())
	if names := f.list(func(bool) bool { return true }); len(names) > 0 {
		f.lose(f.why, names)
	}
	close(f.ended)
}

// giveUp makes f accept no more names. The first call sets the reason.
func (f *Feed) giveUp(why error) {
	f.over.Do(func() {
		f.why = why
		close(f.done)
	})
}

func (f *Feed) givenUp() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}
