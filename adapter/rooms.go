package adapter

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/myriad-rt/myriad/internal/idtable"
)

// shardCount is the number of locks that rooms, and sockets, are spread over. A power of two.
const shardCount = 16

// manyRooms is the number of rooms beside its first from which a Member keeps a map of them.
const manyRooms = 16

// Member is an adapter's record of one socket. The zero value is ready for use; a Socket holds one
// and returns its address from Socket.Member.
//
// Most sockets are in one room, if any, beside the one that is named after them: a Member has a place for it.
type Member struct {
	mu     sync.Mutex
	socket Socket     // set by the first Add
	first  membership // in a room if room is set
	more   *moreRooms // nil until there is a second room
	flags  atomic.Uint32
}

// ID returns the id of the socket that m belongs to. It must have been added to an adapter.
func (m *Member) ID() string { return m.socket.ID() }

// Flags of a Member. The first two are changed with mu held.
const (
	memberAdded = 1 << iota // in a socketShard, unless it is gone
	memberGone              // removed for good
	memberOwn               // in the room named after itself
)

// moreRooms are the rooms of a Member beside its first.
type moreRooms struct {
	list   []*membership
	byName map[string]*membership // nil while there are few
}

// membership ties a member to a room, each of which can find it at once.
type membership struct {
	room   *room
	member *Member
	index  uint32 // in room.members; guarded by the room's shard
	slot   uint32 // in member.more.list; guarded by member.mu
}

type room struct {
	name    string
	members []*membership
}

type roomShard struct {
	mu    sync.RWMutex
	rooms map[string]*room
}

type socketShard struct {
	mu   sync.RWMutex
	byID idtable.Table[*Member]
	// older are members whose id belongs to a newer one: their session was resumed before it had ended here.
	older []*Member
}

// index holds the sockets and their rooms. A socket's own room, which is named after its id, is a bit in its Member without
// an entry among the rooms.
type index struct {
	rooms   [shardCount]roomShard
	sockets [shardCount]socketShard
}

var shardSeed = maphash.MakeSeed()

func (x *index) shardOf(name string) uint64 { return maphash.String(shardSeed, name) % shardCount }

// addLocked adds m, the member of the socket with this id, to a room and returns the changes.
func (x *index) addLocked(m *Member, id, name string, limit int) (joined, created bool, err error) {
	if name == id {
		joined = m.flags.Or(memberOwn)&memberOwn == 0
		return joined, joined && !x.hasRoom(name), nil
	}
	if m.find(name) != nil {
		return false, false, nil
	}
	if m.count() >= limit {
		return false, false, ErrTooManyRooms
	}
	ms := &m.first
	if ms.room != nil {
		ms = m.addMore(name)
	}
	ms.member = m
	sh := &x.rooms[x.shardOf(name)]
	sh.mu.Lock()
	r := sh.rooms[name]
	if r == nil {
		r = &room{name: name}
		if sh.rooms == nil {
			sh.rooms = make(map[string]*room)
		}
		sh.rooms[name] = r
		created = true
	}
	ms.room, ms.index = r, uint32(len(r.members))
	r.members = append(r.members, ms)
	sh.mu.Unlock()
	return true, created && !x.ownsRoom(name), nil
}

// addMore returns a new membership, for a room of this name, in m.more. m.mu is held.
func (m *Member) addMore(name string) *membership {
	if m.more == nil {
		m.more = new(moreRooms)
	}
	more := m.more
	ms := &membership{slot: uint32(len(more.list))}
	more.list = append(more.list, ms)
	switch {
	case more.byName != nil:
		more.byName[name] = ms
	case len(more.list) > manyRooms:
		more.byName = make(map[string]*membership, 2*manyRooms)
		for _, ms := range more.list[:ms.slot] {
			more.byName[ms.room.name] = ms
		}
		more.byName[name] = ms
	}
	return ms
}

// removeMore takes ms, of a room of this name, out of m.more. m.mu is held.
func (m *Member) removeMore(ms *membership, name string) {
	more := m.more
	last := len(more.list) - 1
	if last == 0 {
		m.more = nil
		return
	}
	more.list[ms.slot] = more.list[last]
	more.list[ms.slot].slot = ms.slot
	more.list[last] = nil
	more.list = more.list[:last]
	delete(more.byName, name)
}

// removeLocked takes m, of a socket with this id, out of a room.
func (x *index) removeLocked(m *Member, id, name string) (left, deleted bool) {
	if name == id {
		left = m.flags.And(^uint32(memberOwn))&memberOwn != 0
		return left, left && !x.hasRoom(name)
	}
	ms := m.find(name)
	if ms == nil || m.has(memberGone) {
		return false, false
	}
	deleted = x.detach(ms) && !x.ownsRoom(name)
	if ms == &m.first {
		m.first = membership{}
	} else {
		m.removeMore(ms, name)
	}
	return true, deleted
}

// detach takes ms out of its room and reports whether that was the last of it.
func (x *index) detach(ms *membership) (deleted bool) {
	r := ms.room
	sh := &x.rooms[x.shardOf(r.name)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	last := len(r.members) - 1
	r.members[ms.index] = r.members[last]
	r.members[ms.index].index = ms.index
	r.members[last] = nil
	r.members = r.members[:last]
	if last == 0 {
		delete(sh.rooms, r.name)
		return true
	}
	if cap(r.members) > 64 && last < cap(r.members)/4 {
		r.members = append(make([]*membership, 0, cap(r.members)/2), r.members...)
	}
	return false
}

// find returns the membership of m in a room, or nil. m.mu is held.
func (m *Member) find(name string) *membership {
	if m.first.room != nil && m.first.room.name == name {
		return &m.first
	}
	if m.more == nil {
		return nil
	}
	if m.more.byName != nil {
		return m.more.byName[name]
	}
	for _, ms := range m.more.list {
		if ms.room.name == name {
			return ms
		}
	}
	return nil
}

// count returns the number of rooms, without the one named after the socket. m.mu is held.
func (m *Member) count() int {
	n := 0
	if m.first.room != nil {
		n++
	}
	if m.more != nil {
		n += len(m.more.list)
	}
	return n
}

// memberships calls yield for each room, without the one named after the socket. m.mu is held, or m is gone.
func (m *Member) memberships(yield func(*membership) bool) {
	if m.first.room != nil && !yield(&m.first) || m.more == nil {
		return
	}
	for _, ms := range m.more.list {
		if !yield(ms) {
			return
		}
	}
}

func (m *Member) has(flags uint32) bool { return m.flags.Load()&flags != 0 }

// hasRoom reports whether anybody other than the socket of that name is in a room.
func (x *index) hasRoom(name string) bool {
	sh := &x.rooms[x.shardOf(name)]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.rooms[name] != nil
}

// register makes m, of a socket with this id, known under it.
func (x *index) register(m *Member, id string) {
	sh := &x.sockets[x.shardOf(id)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if old := sh.byID.Put(m); old != nil {
		sh.older = append(sh.older, old)
	}
}

// unregister forgets m, of a socket with this id.
func (x *index) unregister(m *Member, id string) {
	sh := &x.sockets[x.shardOf(id)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byID.Delete(m) {
		return
	}
	if i := slices.Index(sh.older, m); i >= 0 {
		sh.older = slices.Delete(sh.older, i, i+1)
	}
}

func (x *index) member(id string) *Member {
	sh := &x.sockets[x.shardOf(id)]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.byID.Get(id)
}

// ownsRoom reports whether there is a socket of that name which is in its own room.
func (x *index) ownsRoom(name string) bool {
	m := x.member(name)
	return m != nil && m.has(memberOwn)
}
