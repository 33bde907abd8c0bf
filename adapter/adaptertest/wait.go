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

// Patience is the maximum time that a test waits for an expected event. It allows for a slow and busy machine.
const Patience = 30 * time.Second

// Eventually calls f repeatedly until it returns "". After Patience, it fails the test with the last result of f. Like
// t.Fatal, it must be called by the goroutine of the test, which also calls f.
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

// repeatedly calls f until it returns true. After Patience, it fails the test with the message wrong. The limit grows with
// each try, so that f succeeds even on a slow machine.
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

// patient returns a context with a time limit of Patience.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// count returns a function call and a function await, which waits until call has been called calls times. call is safe for
// concurrent use.
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

// outcome is the result of a request: the texts of its answers, sorted, and its error.
type outcome struct {
	answers []string
	err     error
}

// atDeadline makes a request whose deadline is reached when await returns. It returns the result of the request.
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

// deadline is a context whose deadline is controlled by a test.
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

// Log collects log messages as text. The zero value is an empty log. It is safe for concurrent use.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Logger returns a logger that writes text to the log.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns the text written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Await waits until the log contains text. It fails the test if the text does not appear or appears more than most times.
func (l *Log) Await(t testing.TB, text string, most int) {
	t.Helper()
	Eventually(t, func() string {
		if n := strings.Count(l.String(), text); n == 0 || n > most {
			return fmt.Sprintf("%d lines %q in the log:\n%s", n, text, l)
		}
		return ""
	})
}

// Until waits until f returns true. After Patience, it fails the test with the message what and the log.
func (l *Log) Until(t testing.TB, what string, f func() bool) {
	t.Helper()
	Eventually(t, func() string {
		if !f() {
			return fmt.Sprintf("not in time: %s\n%s", what, l)
		}
		return ""
	})
}
