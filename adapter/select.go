package adapter

import (
	"slices"
	"sync"
)

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

func (s *memberSet) addAll(members []*Member) {
	for _, m := range members {
		s.add(m)
	}
}

func (s *memberSet) add(m *Member) {
	switch {
	case s.has(m):
	case s.many != nil:
		s.many[m] = struct{}{}
	case len(s.few) < fewMembers:
		s.few = append(s.few, m)
	default:
		s.many = make(map[*Member]struct{}, 4*fewMembers)
		for _, o := range s.few {
			s.many[o] = struct{}{}
		}
		s.many[m] = struct{}{}
	}
}

// snapshot is a copy of members, so that no lock is held while they are visited.
type snapshot struct{ members []*Member }

var snapshots = sync.Pool{New: func() any { return new(snapshot) }}

// maxPooledSnapshot is the number of members that fit into the largest slice that is kept for another selection.
const maxPooledSnapshot = 4096

// take replaces the members by the members of a room.
func (s *snapshot) take(x *index, room string) []*Member {
	clear(s.members)
	s.members = x.appendRoom(s.members[:0], room)
	return s.members
}

func (s *snapshot) release() {
	clear(s.members)
	if s.members = s.members[:0]; cap(s.members) > maxPooledSnapshot {
		s.members = nil
	}
	snapshots.Put(s)
}

// each calls f for the members that o selects, each once, until f returns false. Members that join or leave
// meanwhile may or may not be visited.
func (x *index) each(o Options, f func(*Member) bool) {
	s := snapshots.Get().(*snapshot)
	defer s.release()
	var except memberSet
	for _, room := range o.Except {
		except.addAll(s.take(x, room))
	}
	visit := func() bool {
		for _, m := range s.members {
			if !except.has(m) && !f(m) {
				return false
			}
		}
		return true
	}

	if len(o.Rooms) == 0 {
		for i := range x.sockets {
			clear(s.members)
			sh := &x.sockets[i]
			sh.mu.RLock()
			s.members = append(sh.byID.AppendTo(s.members[:0]), sh.older...)
			sh.mu.RUnlock()
			if !visit() {
				return
			}
		}
	}
	for i, room := range o.Rooms {
		s.take(x, room)
		if !visit() {
			return
		}
		if i < len(o.Rooms)-1 {
			except.addAll(s.members) // each is visited once
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
		dst = slices.Grow(dst, len(r.members))
		for _, ms := range r.members {
			dst = append(dst, ms.member)
		}
	}
	return dst
}
