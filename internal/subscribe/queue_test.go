package subscribe

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reader is the handler of a queue: it records messages and waits at its gate.
type reader struct {
	gate chan struct{} // closed, or received from for each message

	mu  sync.Mutex
	got []string
}

func (r *reader) handle(batch []Message) {
	for i := range batch {
		<-r.gate
		r.mu.Lock()
		r.got = append(r.got, string(batch[i].Payload))
		r.mu.Unlock()
	}
}

func (r *reader) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// newQueue returns a queue of a pool and its reader. dropped counts dropped messages.
func newQueue(p *pool, dropped *int) (*queue, *reader) {
	r := &reader{gate: make(chan struct{})}
	return &queue{pool: p, handle: r.handle, dropped: func(n int) { *dropped += n }}, r
}

// message returns a message of 1000 bytes.
func message(i int) Message {
	text := fmt.Sprint(i, " ")
	return Message{Payload: []byte(text + strings.Repeat("x", 1000-overhead-len(text)))}
}

// numbers returns the numbers of messages.
func numbers(texts []string) (list []int) {
	for _, text := range texts {
		n := 0
		fmt.Sscan(text, &n)
		list = append(list, n)
	}
	return list
}

// TestOverrun stops a reader: adding waits once for the patience of the pool and then drops messages. Another queue
// has space all the while. Queued messages arrive in order, and so do later ones.
func TestOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{limit: 20_000, patience: time.Second}
		var dropped, otherDropped int
		q, slow := newQueue(p, &dropped)
		other, quick := newQueue(p, &otherDropped)
		close(quick.gate)
		begun := time.Now()
		for i := range 20 {
			q.add(message(i), nil)
		}
		if waited := time.Since(begun); waited != p.patience || dropped < 8 || dropped > 10 {
			t.Errorf("%d of 20 dropped, after %v", dropped, waited)
		}
		if p.bytes > p.limit {
			t.Errorf("%d bytes wait", p.bytes)
		}
		kept := 20 - dropped
		for i := range 100 {
			other.add(message(i), nil)
			synctest.Wait()
		}
		if waited := time.Since(begun); len(quick.texts()) != 100 || waited != p.patience || otherDropped > 0 {
			t.Errorf("another queue has got %d, after %v", len(quick.texts()), waited)
		}
		close(slow.gate)
		synctest.Wait()
		q.add(message(20), nil)
		synctest.Wait()
		want := []int{20}
		for i := range kept {
			want = slices.Insert(want, i, i)
		}
		if got := numbers(slow.texts()); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if p.bytes != 0 || q.bytes != 0 || q.overrun {
			t.Errorf("%d bytes wait in the end, overrun %v", p.bytes, q.overrun)
		}
	})
}

// TestBackPressure uses a reader that is slow, but not too slow: no message is dropped.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{limit: 10_000, patience: time.Second}
		var dropped int
		q, slow := newQueue(p, &dropped)
		go func() {
			for range 300 {
				time.Sleep(10 * time.Millisecond)
				slow.gate <- struct{}{}
			}
		}()
		for i := range 300 {
			q.add(message(i), nil)
			p.mu.Lock()
			bytes := p.bytes
			p.mu.Unlock()
			if bytes > p.limit {
				t.Fatalf("%d bytes wait", bytes)
			}
		}
		time.Sleep(10 * time.Second)
		if got := slow.texts(); len(got) != 300 || dropped > 0 {
			t.Errorf("%d of 300 have come, %d dropped", len(got), dropped)
		}
	})
}

// TestWaitEnds ends the connection or the member while a message waits for space.
func TestWaitEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(q *queue, done chan struct{})
		want bool
	}{
		"connection": {func(_ *queue, done chan struct{}) { close(done) }, false},
		"member":     {func(q *queue, _ chan struct{}) { q.close() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pool{limit: 10_000, patience: time.Hour}
				var dropped int
				q, slow := newQueue(p, &dropped)
				done, added := make(chan struct{}), make(chan bool, 1)
				go func() {
					for i := range 10 {
						if !q.add(message(i), done) {
							added <- false
							return
						}
					}
					added <- true
				}()
				synctest.Wait()
				test.end(q, done)
				if got := <-added; got != test.want || dropped > 0 {
					t.Errorf("added: %v, %d dropped", got, dropped)
				}
				close(slow.gate)
				synctest.Wait()
				if p.bytes != 0 {
					t.Errorf("%d bytes are left", p.bytes)
				}
			})
		})
	}
}

// TestInsert inserts into a full queue and into a closed one.
func TestInsert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dropped int
		q, slow := newQueue(&pool{limit: 10_000, patience: -1}, &dropped)
		for i := range 10 {
			q.add(message(i), nil)
		}
		if !q.insert(message(10)) {
			t.Error("not inserted")
		}
		close(slow.gate)
		synctest.Wait()
		got := numbers(slow.texts())
		if len(got) != 11-dropped || dropped == 0 || got[len(got)-1] != 10 {
			t.Errorf("got %v, %d dropped", got, dropped)
		}
		q.close()
		if q.insert(message(11)) {
			t.Error("inserted into a queue that is closed")
		}
	})
}

// TestGoexit makes a handler call runtime.Goexit: waiting messages are still handled.
func TestGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{limit: 10_000}
		var got []int
		q := &queue{pool: p, handle: func(batch []Message) {
			got = append(got, numbers([]string{string(batch[0].Payload)})...)
			runtime.Goexit()
		}}
		for i := range 3 {
			q.add(message(i), nil)
			synctest.Wait()
		}
		if !slices.Equal(got, []int{0, 1, 2}) || p.bytes != 0 || q.running {
			t.Errorf("got %v, %d bytes wait, running %v", got, p.bytes, q.running)
		}
	})
}
