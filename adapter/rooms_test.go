package adapter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// idSocket is a Socket that has only an id.
type idSocket struct {
	Socket
	id string
}

func (s idSocket) ID() string { return s.id }

// TestSocketsWithOneID uses two sockets with the same id, as when a session is resumed twice.
func TestSocketsWithOneID(t *testing.T) {
	var x index
	older, newer := &Member{socket: idSocket{id: "s"}}, &Member{socket: idSocket{id: "s"}}
	x.register(older, "s")
	x.register(newer, "s")
	listed := func() (members []*Member) {
		x.each(Options{}, func(m *Member) bool { members = append(members, m); return true })
		return members
	}
	if got := listed(); len(got) != 2 || x.member("s") != newer {
		t.Fatalf("%v are listed, %p is found", got, x.member("s"))
	}
	x.unregister(older, "s")
	if got := listed(); len(got) != 1 || got[0] != newer || x.member("s") != newer {
		t.Errorf("without the older: %v are listed", got)
	}
	x.register(older, "s")
	x.unregister(older, "s")
	x.unregister(newer, "s")
	if got := listed(); len(got) != 0 || x.member("s") != nil {
		t.Errorf("%v are left", got)
	}
}

func TestMemberIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Member{}); n > 64 {
		t.Errorf("a Member has %d bytes, want at most 64", n)
	}
}

// TestMembershipsFollowAModel joins and leaves rooms at random, so that a member is in none, one, few and many.
func TestMembershipsFollowAModel(t *testing.T) {
	var x index
	m, other := new(Member), new(Member)
	if _, _, err := x.addLocked(other, "other", "r1", 10); err != nil {
		t.Fatal(err)
	}
	model := make(map[string]bool)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		room, joins := fmt.Sprint("r", random.IntN(2*manyRooms)), random.IntN(100) < 20+i/1000*4
		if joins {
			joined, _, err := x.addLocked(m, "m", room, 2*manyRooms)
			if err != nil || joined == model[room] {
				t.Fatalf("step %d: join %s: %v, %v", i, room, joined, err)
			}
			model[room] = true
		} else {
			if left, _ := x.removeLocked(m, "m", room); left != model[room] {
				t.Fatalf("step %d: leave %s: %v", i, room, left)
			}
			delete(model, room)
		}
		if n := m.count(); n != len(model) {
			t.Fatalf("step %d: %d rooms, want %d", i, n, len(model))
		}
		for ms := range m.memberships {
			if !model[ms.room.name] || ms.member != m || ms.room.members[ms.index] != ms {
				t.Fatalf("step %d: wrong membership in %s", i, ms.room.name)
			}
		}
		if members := x.appendRoom(nil, room); slices.Contains(members, m) != model[room] {
			t.Fatalf("step %d: %s has the member: %v", i, room, !model[room])
		}
	}
}

// TestEmptyRoomsVanish checks that nothing is left of rooms and sockets when all sockets have left.
func TestEmptyRoomsVanish(t *testing.T) {
	var x index
	var members []*Member
	for i := range 1000 {
		id := fmt.Sprint("s", i)
		m := &Member{socket: idSocket{id: id}}
		x.register(m, id)
		for _, room := range []string{id, "all", fmt.Sprint("r", i%10)} {
			if _, _, err := x.addLocked(m, id, room, 10); err != nil {
				t.Fatal(err)
			}
		}
		members = append(members, m)
	}
	for i, m := range members {
		id := fmt.Sprint("s", i)
		for _, room := range []string{id, "all", fmt.Sprint("r", i%10)} {
			if left, _ := x.removeLocked(m, id, room); !left {
				t.Fatalf("%s was not in %s", id, room)
			}
		}
		x.unregister(m, id)
	}
	for i := range shardCount {
		if n := len(x.rooms[i].rooms); n != 0 {
			t.Errorf("shard %d: %d rooms are left", i, n)
		}
		if n := x.sockets[i].byID.Len(); n != 0 {
			t.Errorf("shard %d: %d sockets are left", i, n)
		}
	}
}

// crowd returns an index with a room of n sockets and a room with one of them.
func crowd(tb testing.TB, n int) *index {
	x := new(index)
	for i := range n {
		m, id := new(Member), fmt.Sprint("s", i)
		x.register(&Member{socket: idSocket{id: id}}, id)
		for _, room := range []string{"large", "small"}[:1+max(0, i+2-n)] {
			if _, _, err := x.addLocked(m, id, room, 2); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return x
}

func countSelected(x *index, o Options) (n int) {
	x.each(o, func(*Member) bool { n++; return true })
	return n
}

// TestSelectionsForgetLargeRooms selects many sockets and then few. No selection gets a slice that is much larger than it
// needs, which it would have to clear, or one that still holds members of an earlier selection.
func TestSelectionsForgetLargeRooms(t *testing.T) {
	x := crowd(t, 100_000)
	for range 10 {
		for _, o := range []Options{{Rooms: []string{"large"}}, {}, {Rooms: []string{"large", "small"}}, {Except: []string{"large"}}} {
			countSelected(x, o)
			s := snapshots.Get().(*snapshot)
			if c := cap(s.members); c > maxPooledSnapshot {
				t.Fatalf("room for %d members is kept after %v", c, o)
			}
			for _, m := range s.members[:cap(s.members)] {
				if m != nil {
					t.Fatalf("a member is kept after %v", o)
				}
			}
			s.release()
			if n := countSelected(x, Options{Rooms: []string{"small"}}); n != 1 {
				t.Fatalf("%d members selected, want 1", n)
			}
		}
	}
}

// BenchmarkSelectAfterLarge selects one socket after many have been selected once.
func BenchmarkSelectAfterLarge(b *testing.B) {
	for _, size := range []int{1, 10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			x := crowd(b, size)
			countSelected(x, Options{Rooms: []string{"large"}})
			b.ReportAllocs()
			for b.Loop() {
				countSelected(x, Options{Rooms: []string{"small"}})
			}
		})
	}
}
