package adaptertest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// Patience is how long a test waits for what is to happen, on a machine that may be slow and busy.
const Patience = 30 * time.Second

// Eventually waits until f returns "", and fails the test with what it returned last if that takes longer than
// Patience. Like t.Fatal it is to be called by the goroutine of the test, which also calls f.
func Eventually(t testing.TB, f func() string) {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(2 * time.Millisecond) {
		wrong := f()
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
	}
}

// repeatedly calls f until it returns true, and fails the test with what is wrong if that takes longer than Patience. Each
// time f may take longer than the time before, so that a machine that is slow gets there, too.
func repeatedly(t testing.TB, wrong string, f func(try int, limit time.Duration) bool) {
	t.Helper()
	start := time.Now()
	for try, limit := 0, 100*time.Millisecond; !f(try, limit); try++ {
		if time.Since(start) > Patience {
			t.Fatal(wrong)
		}
		limit += limit / 4
	}
}

// patient returns a context for what is to be done within Patience.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// count returns a function to be called any number of times, by any goroutine, and one that waits for so many calls.
func count(t testing.TB, what string) (call func(), await func(calls int)) {
	var n atomic.Int64
	return func() { n.Add(1) }, func(calls int) {
		t.Helper()
		Eventually(t, func() string {
			if got := n.Load(); got < int64(calls) {
				return fmt.Sprintf("%s: %d, want %d", what, got, calls)
			}
			return ""
		})
	}
}

// outcome is what a request has returned: the texts of its answers, sorted, and its error.
type outcome struct {
	answers []string
	err     error
}

// atDeadline makes a request with a deadline, which is reached when await has returned, and returns what has come of it.
func atDeadline(t testing.TB, request func(context.Context) ([]parser.Args, error), await func()) (answers []string, err error) {
	t.Helper()
	d := &deadline{patient(t), make(chan struct{})}
	reach := sync.OnceFunc(func() { close(d.reached) })
	defer reach()
	done := make(chan outcome, 1)
	go func() {
		answers, err := request(d)
		done <- outcome{texts(answers), err}
	}()
	await()
	reach()
	o := <-done
	return o.answers, o.err
}

// deadline is a context with a deadline that is reached when a test says so.
type deadline struct {
	context.Context
	reached chan struct{}
}

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} { return d.reached }

// Err implements context.Context.
func (d *deadline) Err() error {
	select {
	case <-d.reached:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// Log is a log that can be read while it is written, by any number of goroutines. Its zero value is empty.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Logger returns a logger that writes to the log, as text.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Await waits until text stands in the log, and fails the test if it does not or if it stands there more often than
// most times.
func (l *Log) Await(t testing.TB, text string, most int) {
	t.Helper()
	Eventually(t, func() string {
		if n := strings.Count(l.String(), text); n == 0 || n > most {
			return fmt.Sprintf("%d lines %q in the log:\n%s", n, text, l)
		}
		return ""
	})
}

// Until waits until f returns true, and fails the test with what did not happen, and the log, if that takes longer than
// Patience.
func (l *Log) Until(t testing.TB, what string, f func() bool) {
	t.Helper()
	Eventually(t, func() string {
		if !f() {
			return fmt.Sprintf("not in time: %s\n%s", what, l)
		}
		return ""
	})
}
