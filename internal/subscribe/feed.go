package subscribe

import (
	"sync"
	"sync/atomic"
	"time"
)

// Feed is a connection that receives, as its driver sees it. Its methods may be called by any goroutine, from the call of
// Driver.Open on.
type Feed struct {
	r     *Receiver
	key   string
	conn  Conn
	since time.Time
	over  sync.Once
	why   error         // it was given up
	done  chan struct{} // closed when it is given up
	ended chan struct{} // closed when nothing more is received, and its names are looked for elsewhere

	quiet    atomic.Int32 // looks since something has come
	busy     atomic.Bool  // something that has come is being handed over
	answered atomic.Bool  // something has come

	names map[string]bool // and whether they are confirmed; guarded by Receiver.mu
}

// Received hands m over to the members that have subscribed to m.Name. It waits if there is no room, and returns false if
// the feed is given up meanwhile: m has not reached all of them then.
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

// Insert is Received for what a driver itself has to say about a name. It does not wait.
func (f *Feed) Insert(m Message) {
	for _, member := range f.r.members(m.Name) {
		member.queue.insert(m)
	}
}

// Heard takes note that the broker is alive.
func (f *Feed) Heard() {
	f.quiet.Store(0)
	if !f.answered.Swap(true) {
		f.r.wakeUp()
	}
}

// Confirmed takes note that the messages of a name come from now on.
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

// Moved takes note that the connection does not have a name any more: where it is now is to be looked for.
func (f *Feed) Moved(name string) { f.lose(errMoved, []string{name}) }

// Refused is Moved for a broker that has not said which name. It is one that is not confirmed: the others are not to suffer
// from that.
func (f *Feed) Refused() {
	f.lose(errMoved, f.list(func(confirmed bool) bool { return !confirmed }))
}

// list returns the names of f that are confirmed or not, as which says.
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

// lose takes note that f does not have some names any more, and has them looked at again.
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

// Dropped takes note that the driver had no room for count messages of a name.
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

// giveUp has f take no more names. The first call says why.
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
