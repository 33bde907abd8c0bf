package drain

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		if err := g.Wait(t.Context()); err != nil {
			t.Fatalf("Wait of an empty group = %v", err)
		}
		g.Add(2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Wait with two under way = %v, want a deadline exceeded", err)
		}
		errs := make(chan error, 2)
		for range cap(errs) {
			go func() { errs <- g.Wait(t.Context()) }()
		}
		synctest.Wait()
		g.Done()
		synctest.Wait()
		if len(errs) != 0 {
			t.Fatal("Wait returned with one under way")
		}
		g.Done()
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Fatalf("Wait = %v", err)
			}
		}
		g.Add(1) // a group may fill again
		if n := g.Len(); n != 1 {
			t.Fatalf("Len = %d, want 1", n)
		}
	})
}

func TestNegative(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic for a negative count")
		}
	}()
	new(Group).Done()
}
