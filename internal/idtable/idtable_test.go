package idtable

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

type named struct{ id string }

func (n *named) ID() string { return n.id }

// check compares t with its expected contents.
func check(t *testing.T, table *Table[*named], model map[string]*named) {
	t.Helper()
	if table.Len() != len(model) {
		t.Fatalf("%d values, want %d", table.Len(), len(model))
	}
	all := table.AppendTo(nil)
	for id, want := range model {
		if got := table.Get(id); got != want {
			t.Fatalf("%s: got %v, want %v", id, got, want)
		}
		if !slices.Contains(all, want) {
			t.Fatalf("%s is not listed", id)
		}
	}
	if len(all) != len(model) {
		t.Fatalf("%d are listed, want %d", len(all), len(model))
	}
}

func TestTableFollowsAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var table Table[*named]
	model := make(map[string]*named)
	for i := range 40_000 {
		id, adds := fmt.Sprint(random.IntN(400)), random.IntN(100) < []int{80, 20, 50, 5}[i/10_000]
		if adds {
			v := &named{id}
			if old := table.Put(v); old != model[id] {
				t.Fatalf("step %d: %s replaces %v, want %v", i, id, old, model[id])
			}
			model[id] = v
		} else {
			v := model[id]
			if v == nil {
				v = &named{id}
			}
			if got := table.Delete(v); got != (model[id] != nil) {
				t.Fatalf("step %d: delete %s: %v", i, id, got)
			}
			delete(model, id)
		}
		if table.Delete(&named{id}) {
			t.Fatalf("step %d: %s is deleted by another value", i, id)
		}
		if i%97 == 0 {
			check(t, &table, model)
		}
	}
	check(t, &table, model)
}

// Values with equal hashes collide, and so do values with adjacent hashes across the end of the table.
func TestTableWithCollisions(t *testing.T) {
	for _, h := range []uint32{0, 1 << 31, ^uint32(0)} {
		table := Table[*named]{hashes: make([]uint32, minSize), values: make([]*named, minSize)}
		var all []*named
		for i := range 5 {
			v := &named{fmt.Sprint(i)}
			all = append(all, v)
			table.insert(h-uint32(i%2)<<29, v)
			table.count++
		}
		for len(all) > 0 {
			i, ok := table.find(h, all[0].id)
			if !ok {
				i, ok = table.find(h-1<<29, all[0].id)
			}
			if !ok {
				t.Fatalf("%s is lost", all[0].id)
			}
			table.count--
			table.close(i)
			all = all[1:]
		}
		for i, v := range table.values {
			if v != nil {
				t.Errorf("place %d has still %s", i, v.id)
			}
		}
	}
}

func TestTableIsSmall(t *testing.T) {
	var table Table[*named]
	var all []*named
	for i := range 100_000 {
		v := &named{fmt.Sprint(i)}
		all = append(all, v)
		table.Put(v)
		if n := len(table.values); n > 4*minSize && n*16 > table.Len()*30 {
			t.Fatalf("%d places for %d values", n, table.Len())
		}
	}
	for _, v := range all {
		table.Delete(v)
		if n := len(table.values); n > minSize && n > table.Len()*4 {
			t.Fatalf("%d places are kept for %d values", n, table.Len())
		}
	}
	if table.values != nil || table.Get("1") != nil {
		t.Error("an empty table keeps memory")
	}
}

func BenchmarkPutDelete(b *testing.B) {
	var table Table[*named]
	for i := range 10_000 {
		table.Put(&named{fmt.Sprint(i)})
	}
	v := &named{"abcdefghijklmnopqrst"}
	b.ReportAllocs()
	for b.Loop() {
		table.Put(v)
		table.Delete(v)
	}
}
