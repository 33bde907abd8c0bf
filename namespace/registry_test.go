package namespace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/myriad-rt/myriad/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// space is a namespace.
type space struct {
	entry  *Entry[*space]
	parent *Parent[*space]
	closed int
}

// newRegistry returns a registry of spaces. Functions of o that are nil get defaults.
func newRegistry(o Options[*space]) *Registry[*space] {
	if o.New == nil {
		o.New = func(e *Entry[*space]) *space { return &space{entry: e} }
	}
	if o.Close == nil {
		o.Close = func(_ context.Context, n *space) error {
			n.closed++
			return nil
		}
	}
	o.Logger = slog.New(slog.DiscardHandler)
	return NewRegistry(o)
}

func newParent(p *Parent[*space], _ string) *space { return &space{parent: p} }

// anything allows all names.
func anything(string, []byte) (bool, error) { return true, nil }

func names(list []*space) (names []string) {
	for _, n := range list {
		names = append(names, n.entry.Name())
	}
	return names
}

func TestOf(t *testing.T) {
	r := newRegistry(Options[*space]{})
	a := r.Of("a")
	if a.entry.Name() != "/a" || r.Of("/a") != a {
		t.Errorf("a has become %q", a.entry.Name())
	}
	if n, ok := r.Lookup("/a"); n != a || !ok {
		t.Error("/a is not found")
	}
	if _, ok := r.Lookup("/b"); ok {
		t.Error("/b is found")
	}
	r.Of("/b")
	if got, want := names(r.All()), []string{"/a", "/b"}; !slices.Equal(got, want) {
		t.Errorf("all: %q, want %q", got, want)
	}
}

func TestResolve(t *testing.T) {
	r := newRegistry(Options[*space]{})
	if r.HasParents() {
		t.Error("there are parents")
	}
	var asked []string
	function := r.AddFunc(func(name string, auth []byte) (bool, error) {
		asked = append(asked, name+string(auth))
		return strings.HasSuffix(name, "1"), map[bool]error{true: errors.New("no")}[name == "/error1"]
	}, newParent)
	pattern := r.AddPattern(regexp.MustCompile("^/[xy]"), newParent)
	r.Of("/there")
	for _, test := range []struct {
		name   string
		err    error
		parent *Parent[*space]
	}{
		{"/there", nil, nil},
		{"/none", ErrUnknown, nil},
		{"/error1", ErrUnknown, nil},
		{"/x1", nil, function.parent},
		{"/x2", nil, pattern.parent},
	} {
		n, err := r.Resolve(test.name, []byte("{}"))
		if err != test.err || err == nil && n.entry.Parent() != test.parent {
			t.Errorf("%s: %v, %+v", test.name, err, n)
		}
	}
	if want := []string{"/none{}", "/error1{}", "/x1{}", "/x2{}"}; !slices.Equal(asked, want) {
		t.Errorf("asked about %q, want %q", asked, want)
	}
	if r.Of("/y").entry.Parent() != pattern.parent {
		t.Error("Of does not find the pattern")
	}
	pattern.parent.Child("/child")
	if got, want := names(pattern.parent.Children()), []string{"/x2", "/y", "/child"}; !slices.Equal(got, want) {
		t.Errorf("children: %q, want %q", got, want)
	}
}

// TestMakeOnce requests a name concurrently.
func TestMakeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made, gate := 0, make(chan struct{})
		r := newRegistry(Options[*space]{New: func(e *Entry[*space]) *space {
			made++
			<-gate
			return &space{entry: e}
		}})
		var wg sync.WaitGroup
		got := make([]*space, 10)
		for i := range got {
			wg.Go(func() { got[i] = r.Of("/a") })
		}
		synctest.Wait()
		if _, ok := r.Lookup("/a"); ok || made != 1 {
			t.Errorf("found: %v, made %d times", ok, made)
		}
		close(gate)
		wg.Wait()
		if len(slices.Compact(got)) != 1 || got[0] == nil {
			t.Error("there are several of one name")
		}
	})
}

// TestFunctionsMayAsk has functions that request other names during a creation, and one that panics.
func TestFunctionsMayAsk(t *testing.T) {
	var r *Registry[*space]
	r = newRegistry(Options[*space]{New: func(e *Entry[*space]) *space {
		switch e.Name() {
		case "/a":
			r.Of("/inner")
		case "/panics":
			panic("for the test")
		}
		return &space{entry: e}
	}})
	r.OnNew(func(n *space) {
		if r.Of(n.entry.Name()) != n {
			t.Error("the namespace is not there for OnNew")
		}
		if n.entry.Name() == "/a" {
			r.Of("/told")
		}
	})
	r.Of("/")
	r.Of("/a").entry.Wait()
	func() {
		defer func() { _ = recover() }()
		r.Of("/panics")
	}()
	if got, want := names(r.All()), []string{"/", "/inner", "/a", "/told"}; !slices.Equal(got, want) {
		t.Errorf("all: %q, want %q", got, want)
	}
}

func TestWaitForOnNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(Options[*space]{})
		gate, waited := make(chan struct{}), false
		r.OnNew(func(*space) { <-gate })
		var wg sync.WaitGroup
		wg.Go(func() { r.Of("/a") })
		synctest.Wait()
		n, ok := r.Lookup("/a")
		if !ok {
			t.Fatal("/a is not there")
		}
		wg.Go(func() {
			n.entry.Wait()
			waited = true
		})
		synctest.Wait()
		if waited {
			t.Error("Wait has not waited")
		}
		close(gate)
		wg.Wait()
	})
}

func TestMaxDynamic(t *testing.T) {
	r := newRegistry(Options[*space]{MaxDynamic: 2, DropEmpty: true})
	parent := r.AddFunc(anything, newParent).parent
	r.Of("/static")
	var all []*space
	for i := range 2 {
		n, err := r.Resolve(fmt.Sprint("/", i), nil)
		if err != nil || !n.entry.Hold() {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	if _, err := r.Resolve("/more", nil); err != ErrTooMany {
		t.Errorf("one more: %v", err)
	}
	if n, err := r.Resolve("/1", nil); err != nil || n != all[1] {
		t.Errorf("one that is there: %v", err)
	}
	all[0].entry.Release()
	if _, err := r.Resolve("/more", nil); err != nil {
		t.Errorf("one more after one has gone: %v", err)
	}
	if parent.Child("/by the application") == nil {
		t.Error("the application does not get one")
	}
}

// TestDrop drops a namespace that is no longer held. Creating it again waits until it has closed.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		r := newRegistry(Options[*space]{DropEmpty: true, Close: func(ctx context.Context, _ *space) error {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("nothing bounds the wait")
			}
			<-gate
			return errors.New("cannot be closed")
		}})
		parent := r.AddFunc(anything, newParent).parent
		static := r.Of("/static")
		first, _ := r.Resolve("/d", nil)
		for _, n := range []*space{static, first, first} {
			if !n.entry.Hold() {
				t.Fatal("not held")
			}
			defer n.entry.Release()
		}
		first.entry.Release()
		if n, ok := r.Lookup("/d"); !ok || n != first {
			t.Error("dropped while it is held")
		}
		first.entry.Hold()
		var wg sync.WaitGroup
		wg.Go(func() {
			first.entry.Release()
			first.entry.Release()
		})
		synctest.Wait()
		if _, ok := r.Lookup("/d"); ok || first.entry.Hold() || len(parent.Children()) > 0 {
			t.Error("not dropped")
		}
		var again *space
		wg.Go(func() { again, _ = r.Resolve("/d", nil) })
		synctest.Wait()
		if again != nil {
			t.Error("there are two of one name")
		}
		close(gate)
		wg.Wait()
		if again == first || again == nil {
			t.Error("not made anew")
		}
	})
}

// TestClose closes a registry while a namespace is being created.
func TestClose(t *testing.T) {
	making, gate := make(chan struct{}), make(chan struct{})
	r := newRegistry(Options[*space]{New: func(e *Entry[*space]) *space {
		if e.Name() == "/late" {
			close(making)
			<-gate
		}
		return &space{entry: e}
	}})
	r.AddFunc(anything, newParent)
	early := r.Of("/early")
	var late *space
	var wg sync.WaitGroup
	wg.Go(func() { late = r.Of("/late") })
	<-making
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	close(gate)
	wg.Wait()
	if early.closed != 1 || late.closed != 1 {
		t.Errorf("closed %d and %d times", early.closed, late.closed)
	}
	if _, err := r.Resolve("/more", nil); err != ErrUnknown {
		t.Errorf("after Close: %v", err)
	}
}
