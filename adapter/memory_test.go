package adapter_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
)

func TestMemory(t *testing.T) {
	open := func(n adapter.Namespace) adapter.Adapter { return adapter.NewMemory(n, nil) }
	adaptertest.Run(t, open)
	adaptertest.RunRecovery(t, func(*testing.T) adapter.Factory { return open }, 1)
}

func TestMaxRoomsPerSocket(t *testing.T) {
	n := adaptertest.NewNode("/")
	n.Adapter = adapter.NewMemory(n, &adapter.MemoryOptions{MaxRoomsPerSocket: 2})
	s := n.Connect("s", "a", "b")
	if err := n.Adapter.Add(s, "c", "a"); !errors.Is(err, adapter.ErrTooManyRooms) {
		t.Errorf("a third room: got %v, want ErrTooManyRooms", err)
	}
	n.Adapter.Remove(s, "a")
	if err := n.Adapter.Add(s, "c"); err != nil {
		t.Errorf("a room in place of another: %v", err)
	}
}

func BenchmarkJoinLeave(b *testing.B) {
	for _, size := range []int{1, 1_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := adaptertest.NewNode("/")
			n.Adapter = adapter.NewMemory(n, nil)
			for i := range size {
				n.Connect(fmt.Sprint("s", i), "room")
			}
			s := n.Connect("s")
			b.ReportAllocs()
			for b.Loop() {
				_ = n.Adapter.Add(s, "room")
				n.Adapter.Remove(s, "room")
			}
		})
	}
}
