package transport

import (
	"sync"
	"testing"
)

func TestBudget(t *testing.T) {
	exceeded := 0
	b := NewBudget(100, func() { exceeded++ })
	b.Add(100)
	if exceeded > 0 {
		t.Error("exceeded at the limit")
	}
	b.Add(1)
	b.Add(-1)
	if exceeded != 1 || b.Used() != 100 {
		t.Errorf("exceeded %d times, %d bytes", exceeded, b.Used())
	}
	var none *Budget
	none.Add(1)
	none.Hold(TextMessage("a"))
	none.Drop(TextMessage("a"))
	if none.Used() != 0 {
		t.Error("a nil Budget counts")
	}
}

// TestBudgetCountsSharedMessagesOnce makes many queues of two servers refer to one message.
func TestBudgetCountsSharedMessagesOnce(t *testing.T) {
	m := TextMessage("0123456789")
	one, two := NewBudget(1000, nil), NewBudget(1000, nil)
	one.Hold(m)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				one.Hold(m)
				two.Hold(m)
				two.Drop(m)
				one.Drop(m)
			}
			one.Hold(m)
			two.Hold(m)
		})
	}
	wg.Wait()
	if one.Used() != 10 || two.Used() != 80 {
		t.Errorf("%d and %d bytes, want 10 and 80", one.Used(), two.Used())
	}
	for range 8 {
		one.Drop(m)
		two.Drop(m)
	}
	one.Drop(m)
	if one.Used() != 0 || two.Used() != 0 {
		t.Errorf("%d and %d bytes are left", one.Used(), two.Used())
	}
}
