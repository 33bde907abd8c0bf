//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/gen"
	"github.com/myriad-rt/myriad/bench/internal/proc"
)

// One of leaving clients of a storm leaves when it has its answer, so that 20,000 clients can connect where a process may
// have 20,000 descriptors. At most stormInFlight clients are connected at once.
const (
	leaving       = 10
	stormInFlight = 18_000
)

// storm is a load of clients that all connect at once, as after the restart of a server. Each emits an acknowledged event as
// soon as it has joined. Some leave when it is acknowledged.
type storm struct {
	*ack
	answers []int // by client
}

func newStorm(f *flags) *storm {
	return &storm{ack: newAck(f, plainAck), answers: make([]int, f.clients)}
}

// Opened implements gen.Opener.
func (s *storm) Opened(c *gen.Conn) {
	if s.loop != nil { // clients that connect before the measurement do nothing
		s.send(c)
	}
}

func (s *storm) Message(c *gen.Conn, m []byte, isBinary bool) error {
	if err := s.check(c, m, isBinary); err != nil {
		return err
	}
	s.waiting--
	s.ops++
	s.answers[c.Index]++
	if c.Index%leaving == 0 {
		c.Leave()
	}
	return nil
}

// run connects all clients and waits for their answers.
func (s *storm) run(r *record, f *flags, l *gen.Loop, server *server) error {
	if err := server.collect(); err != nil {
		return err
	}
	base, err := server.usage()
	if err != nil {
		return err
	}
	if server.pid != 0 {
		if err := proc.ResetPeak(server.pid); err != nil {
			return err
		}
	}
	s.loop = l
	if err := l.Connect(f.clients, connectTimeout); err != nil {
		return err
	}
	if err := l.Until(f.patience, func() bool { return s.waiting == 0 }); err != nil {
		return fmt.Errorf("%d answers are missing: %w", s.waiting, err)
	}
	used, err := server.usage()
	if err != nil {
		return err
	}
	r.Seconds = used.at.Sub(base.at).Seconds()
	r.ConnectCPU = micros(used.cpu-base.cpu) / float64(f.clients)
	r.ConnectRate = float64(f.clients) / r.Seconds
	if server.pid != 0 {
		peak, err := proc.Peak(server.pid)
		if err != nil {
			return err
		}
		r.Peak = float64(peak-base.resident) / float64(f.clients)
	}
	r.Ops = s.ops
	if err := l.Run(100 * time.Millisecond); err != nil { // leave time for messages that should not arrive
		return err
	}
	for i, n := range s.answers {
		if n != 1 {
			return fmt.Errorf("client %d has had %d answers", i, n)
		}
	}
	return nil
}
