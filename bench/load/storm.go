//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/gen"
	"github.com/myriad-rt/myriad/bench/internal/proc"
)

// Of a storm's clients, one of so many as leaving leaves when it has its answer. So 20,000 can come where a process may have
// only so many descriptors, stormInFlight of which are there at once.
const (
	leaving       = 10
	stormInFlight = 18_000
)

// storm is clients that all connect at once, as they do after a server was restarted. Each emits an acknowledged event the moment
// it has joined; some leave then.
type storm struct {
	*ack
	answers []int // by client
}

func newStorm(f *flags) *storm {
	return &storm{ack: newAck(f, plainAck), answers: make([]int, f.clients)}
}

// Opened implements gen.Opener.
func (s *storm) Opened(c *gen.Conn) {
	if s.loop != nil { // those that connect before anything is measured do nothing
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
	if err := l.Run(100 * time.Millisecond); err != nil { // what should not come has time to come
		return err
	}
	for i, n := range s.answers {
		if n != 1 {
			return fmt.Errorf("client %d has had %d answers", i, n)
		}
	}
	return nil
}
