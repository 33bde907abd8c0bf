// Command conformance runs cases of RFC 6455 and RFC 7692 against the WebSocket transport on epoll, on goroutines and over
// TLS, and against package ws of Node.js, which validates the cases. Their numbers and subjects are those of the published
// Autobahn test suite. It writes CONFORMANCE.md.
//
//	go run ./compat-tests/conformance            # a minute
//	go run ./compat-tests/conformance -check     # also fails if CONFORMANCE.md is out of date
//	go run ./compat-tests/conformance -full      # with as many messages as in the published suite
//	go run ./compat-tests/conformance -run '^(5|9\.3)\.' -target epoll
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
)

// directory is where this program's files are.
var directory = func() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}()

// workers is the number of cases that run at the same time.
const workers = 4

func main() {
	check := flag.Bool("check", false, "fail if CONFORMANCE.md is out of date instead of writing it")
	full := flag.Bool("full", false, "send as many messages as the published suite")
	pattern := flag.String("run", "", "run the cases whose ids match, and write nothing")
	only := flag.String("target", "", "try this target only, and write nothing")
	flag.Parse()
	if err := run(*check, *full, *pattern, *only); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(check, full bool, pattern, only string) error {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	messages := 10
	if full {
		messages = 1000
	}
	all := groups(messages)
	for i := range all {
		all[i].cases = slices.DeleteFunc(all[i].cases, func(c testCase) bool { return !wanted.MatchString(c.id) })
	}
	targets, err := startTargets()
	if err != nil {
		return err
	}
	defer stop(targets)
	if only != "" {
		targets = slices.DeleteFunc(targets, func(t *target) bool { return t.name != only })
	}
	results := runAll(all, targets)
	failed := 0
	for _, g := range all {
		for _, c := range g.cases {
			for _, t := range targets {
				if r := results[key{c.id, t.name}]; r.failed != "" {
					failed++
					fmt.Printf("%s on %s (%s): %s\n", c.id, t.name, c.what, r.failed)
				}
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d cases failed", failed)
	}
	fmt.Printf("%d cases passed on %d targets\n", len(results)/len(targets), len(targets))
	if pattern != "" || only != "" {
		return nil
	}
	path := filepath.Join(directory, "../../CONFORMANCE.md")
	table := writeTable(all, targets, results)
	if !check {
		return os.WriteFile(path, table, 0o644)
	}
	if before, err := os.ReadFile(path); err != nil || !bytes.Equal(before, table) {
		return fmt.Errorf("CONFORMANCE.md is out of date; make conformance writes it (%v)", err)
	}
	return nil
}

type key struct{ id, target string }

// result is the result of a target in a case.
type result struct {
	verdict verdict
	failed  string // the reason; empty if the case passed
}

// runAll tries all cases on all targets.
func runAll(all []group, targets []*target) map[key]result {
	type job struct {
		c *testCase
		t *target
	}
	jobs := make(chan job)
	results := make(map[key]result)
	var mu sync.Mutex
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for j := range jobs {
				r := try(j.c, j.t)
				mu.Lock()
				results[key{j.c.id, j.t.name}] = r
				mu.Unlock()
			}
		})
	}
	for i := range all {
		for k := range all[i].cases {
			for _, t := range targets {
				jobs <- job{&all[i].cases[k], t}
			}
		}
	}
	close(jobs)
	group.Wait()
	return results
}

// try tries a case on a target.
func try(c *testCase, t *target) (r result) {
	conn, err := t.dial()
	if err != nil {
		return result{failed: err.Error()}
	}
	defer conn.Close()
	defer func() {
		switch why := recover().(type) {
		case nil:
		case failure:
			r = result{failed: string(why)}
		default:
			panic(why)
		}
	}()
	return result{verdict: c.run(newPeer(conn, c.offer))}
}
