package adapter

import "sync"

// memberSet is a set of members that is small more often than not.
type memberSet struct {
	few  []*Member
	many map[*Member]struct{}
}

// fewMembers is the size up to which a memberSet is searched in order.
const fewMembers = 8

func (s *memberSet) has(m *Member) bool {
	if s.many != nil {
		_, ok := s.many[m]
		return ok
	}
	for _, o := range s.few {
		if o == m {
			return true
		}
	}
	return false
}

// add reports whether m is new to the set.
func (s *memberSet) add(m *Member) bool {
	if s.has(m) {
		return false
	}
	if s.many == nil && len(s.few) < fewMembers {
		s.few = append(s.few, m)
		return true
	}
	if s.many == nil {
		s.many = make(map[*Member]struct{}, 4*fewMembers)
		for _, o := range s.few {
			s.many[o] = struct{}{}
		}
	}
	s.many[m] = struct{}{}
	return true
}

// snapshots holds the slices that members are copied to, so that no lock is held while they are visited.
var snapshots = sync.Pool{New: func() any { return new([]*Member) }}

// each calls f for the members that o selects, each once, until f returns false. Members that join or leave
// meanwhile may or may not be visited.
func (x *index) each(o Options, f func(*Member) bool) {
	snapshot := snapshots.Get().(*[]*Member)
	defer func() {
		clear((*snapshot)[:cap(*snapshot)])
		snapshots.Put(snapshot)
	}()

	var except memberSet
	for _, name := range o.Except {
		*snapshot = x.appendRoom((*snapshot)[:0], name)
		for _, m := range *snapshot {
			except.add(m)
		}
	}
	visit := func() bool {
		for _, m := range *snapshot {
			if !except.has(m) && !f(m) {
				return false
			}
		}
		return true
	}

	switch len(o.Rooms) {
	case 0:
		for i := range x.sockets {
			sh := &x.sockets[i]
			sh.mu.RLock()
			*snapshot = append(sh.byID.AppendTo((*snapshot)[:0]), sh.older...)
			sh.mu.RUnlock()
			if !visit() {
				return
			}
		}
	case 1:
		*snapshot = x.appendRoom((*snapshot)[:0], o.Rooms[0])
		visit()
	default:
		for _, name := range o.Rooms {
			*snapshot = x.appendRoom((*snapshot)[:0], name)
			if !visit() {
				return
			}
			// Whoever was visited is passed over in the rooms that follow.
			for _, m := range *snapshot {
				except.add(m)
			}
		}
	}
}

// appendRoom appends the members of a room to dst.
func (x *index) appendRoom(dst []*Member, name string) []*Member {
	own := x.member(name)
	if own != nil && !own.has(memberOwn) {
		own = nil
	}
	if own != nil {
		dst = append(dst, own)
	}
	sh := &x.rooms[x.shardOf(name)]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if r := sh.rooms[name]; r != nil {
		for _, ms := range r.members {
			dst = append(dst, ms.member)
		}
	}
	return dst
}
