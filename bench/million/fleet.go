//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/gen"
)

// fleet is all processes.
type fleet struct {
	out     io.Writer
	n       int
	servers []*server
	workers []*process
	sizes   []int      // clients of each worker in the end
	first   []*process // a worker of each server
	began   time.Time
	report
}

// start starts the servers, and the workers with an equal share of clients each.
func (f *fleet) start(program string, perProcess int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i := range (f.n + perProcess - 1) / perProcess {
		s, err := startServer(program, i)
		if err != nil {
			return err
		}
		f.servers = append(f.servers, s)
	}
	for i, s := range f.servers {
		clients := share(f.n, len(f.servers), i)
		perWorker := min(perProcess, workerClients)
		workers := (clients + perWorker - 1) / perWorker
		for j := range workers {
			source := len(f.workers) * gen.Sources
			w, err := start("worker "+strconv.Itoa(len(f.workers)), self, "-worker", s.addr, "-source", strconv.Itoa(source))
			if err != nil {
				return err
			}
			f.workers = append(f.workers, w)
			f.sizes = append(f.sizes, share(clients, workers, j))
			if j == 0 {
				f.first = append(f.first, w)
			}
		}
	}
	return nil
}

// share returns part i of n divided into parts.
func share(n, parts, i int) int { return n*(i+1)/parts - n*i/parts }

func (f *fleet) kill() {
	for _, w := range f.workers {
		w.kill()
	}
	for _, s := range f.servers {
		s.kill()
	}
}

// run starts the servers and workers and runs the test.
func (f *fleet) run(program string) error {
	perProcess, err := clientsPerProcess(f.n)
	if err != nil {
		return err
	}
	if err := f.start(program, perProcess); err != nil {
		return err
	}
	if err := f.work(); err != nil {
		return errors.Join(err, f.printClosed())
	}
	return nil
}

// work runs the test on the servers and workers.
func (f *fleet) work() error {
	f.began = time.Now()
	if err := f.printHead(); err != nil {
		return err
	}
	for step := range steps {
		if err := f.all(func(i int) string { return fmt.Sprintf("connect %d", share(f.sizes[i], steps, step)) }); err != nil {
			return err
		}
		if err := f.print("connected", f.connected(step)); err != nil {
			return err
		}
	}
	if err := f.hold(); err != nil {
		return err
	}
	if err := f.broadcast(); err != nil {
		return err
	}
	return f.printGoals()
}

// connected returns the number of connections behind a step.
func (f *fleet) connected(step int) (n int) {
	for _, size := range f.sizes {
		n += size * (step + 1) / steps
	}
	return n
}

// all sends each worker a command and waits for the answers "ok".
func (f *fleet) all(command func(i int) string) error {
	for i, w := range f.workers {
		if err := w.tell("%s", command(i)); err != nil {
			return err
		}
	}
	for i, w := range f.workers {
		if answer, err := w.line(); err != nil || answer != "ok" {
			return errors.Join(err, fmt.Errorf("%s: %q, to %q", w.name, answer, command(i)))
		}
	}
	return nil
}

// status is the state of the workers' clients.
type status struct {
	clients   int
	pings     int // heartbeats that were answered
	fewest    int // the same, of the client with the fewest
	most      int // and with the most
	delivered int
}

// status asks all workers.
func (f *fleet) status() (all status, err error) {
	for i, w := range f.workers {
		answer, err := w.ask("status")
		if err != nil {
			return status{}, err
		}
		var s status
		if _, err := fmt.Sscan(answer, &s.clients, &s.pings, &s.fewest, &s.most, &s.delivered); err != nil {
			return status{}, fmt.Errorf("%s: %q: %w", w.name, answer, err)
		}
		all.clients += s.clients
		all.pings += s.pings
		all.delivered += s.delivered
		all.most = max(all.most, s.most)
		if i == 0 || s.fewest < all.fewest {
			all.fewest = s.fewest
		}
	}
	return all, nil
}

// hold waits until each client has answered the given number of further pings. If a connection closes, the run ends.
func (f *fleet) hold() error {
	before, err := f.status()
	if err != nil {
		return err
	}
	for now := before; now.fewest < before.most+heartbeats; {
		time.Sleep(time.Second)
		if now, err = f.status(); err != nil {
			return err
		}
		f.answered = now.pings - before.pings
	}
	if err := f.print(fmt.Sprintf("after %d heartbeats", heartbeats), f.n); err != nil {
		return err
	}
	f.held = f.used
	return nil
}

// broadcast sends an event to all clients and waits until all have received it.
func (f *fleet) broadcast() error {
	if err := f.all(func(int) string { return "expect " + text }); err != nil {
		return err
	}
	began := time.Now()
	for _, w := range f.first {
		if answer, err := w.ask("send %s", text); err != nil || answer != "ok" {
			return errors.Join(err, fmt.Errorf("%s: %q", w.name, answer))
		}
	}
	for now := (status{}); now.delivered < f.n; {
		time.Sleep(20 * time.Millisecond)
		var err error
		if now, err = f.status(); err != nil {
			return err
		}
	}
	took := time.Since(began)
	if err := f.print("after a broadcast", f.n); err != nil {
		return err
	}
	// Wait longer than the printed time, so that a surplus delivery would show, too.
	now, err := f.status()
	if err != nil {
		return err
	}
	if now.clients != f.n || now.delivered != f.n {
		return fmt.Errorf("%d clients, %d deliveries", now.clients, now.delivered)
	}
	f.delivered = now.delivered
	fmt.Fprintf(f.out, "%d deliveries to %d connections in %.2f s\n", now.delivered, now.clients, took.Seconds())
	for _, s := range f.servers {
		if err := s.collect(); err != nil {
			return err
		}
	}
	return f.print("after a collection", f.n)
}
