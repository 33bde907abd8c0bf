package transport

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeQueue is a Queue that counts its bytes itself.
type fakeQueue struct {
	budget *Budget
	bytes  atomic.Int64
}

func (q *fakeQueue) add(n int) {
	q.bytes.Add(int64(n))
	q.budget.Add(n)
}

func (q *fakeQueue) Queued() int { return int(q.bytes.Load()) }

func (q *fakeQueue) Shed() { q.budget.Add(-int(q.bytes.Swap(0))) }

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queues := make([]*fakeQueue, 10)
		b := NewBudget(800, func() (all []Queue) {
			for _, q := range queues {
				all = append(all, q)
			}
			return all
		})
		want := func(total int, lengths ...int) {
			t.Helper()
			synctest.Wait()
			for i, n := range lengths {
				if got := queues[i].Queued(); got != n {
					t.Errorf("queue %d has %d bytes, want %d", i, got, n)
				}
			}
			if b.Used() != int64(total) {
				t.Errorf("%d bytes are used, want %d", b.Used(), total)
			}
		}
		for i := range queues {
			queues[i] = &fakeQueue{budget: b}
		}
		queues[0].add(300)
		queues[1].add(10)
		queues[2].add(400)
		queues[3].add(90)
		want(800, 300, 10, 400, 90) // the limit may be reached
		queues[1].add(1)
		want(401, 300, 11, 0, 90) // the longest has gone, which is enough
		for range 3 {
			queues[4].add(150)
		}
		want(401, 300, 11, 0, 90, 0) // the longest again
		queues[4].add(310)
		want(711, 300, 11, 0, 90, 310)
		queues[1].add(-11)
		queues[3].add(101)
		want(491, 300, 0, 0, 191, 0) // 801 bytes: an eighth of the limit is to be free

		// Bytes of a connection that is only being made are in no queue yet.
		b.Add(1000)
		want(1000, 0, 0, 0, 0, 0)
		queues[5].add(100)
		time.Sleep(2 * fruitless)
		want(1000, 0, 0, 0, 0, 0, 0)
		b.Add(-1000)
		time.Sleep(2 * fruitless)
		queues[5].add(700)
		want(700, 0, 0, 0, 0, 0, 700)
	})
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
