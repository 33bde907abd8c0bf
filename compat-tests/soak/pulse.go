package soak

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// pulse measures the round trip of a byte to an echo server in this process. Time limits are relative to it: it is subject
// to the delays of the machine, but not of the server.
type pulse struct {
	mu    sync.Mutex
	beats []beat
	sent  time.Time // when the current byte was sent; zero if there is none
}

type beat struct {
	at   time.Time // when the byte was sent
	took time.Duration
}

// pulseInterval is the time between two bytes.
const pulseInterval = 20 * time.Millisecond

// start measures until ctx is done. wait waits for the end.
func (p *pulse) start(ctx context.Context) (wait func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := l.Accept()
	if err != nil {
		near.Close()
		return nil, err
	}
	var running sync.WaitGroup
	running.Go(func() {
		defer far.Close()
		_, _ = io.Copy(far, far) // until near is closed
	})
	running.Go(func() {
		defer near.Close()
		p.run(ctx, near)
	})
	return running.Wait, nil
}

func (p *pulse) run(ctx context.Context, conn net.Conn) {
	ticker := time.NewTicker(pulseInterval)
	defer ticker.Stop()
	b := make([]byte, 1)
	for {
		// The delay of the timer counts, too.
		due := time.Now().Add(pulseInterval)
		p.mu.Lock()
		p.sent = due
		p.mu.Unlock()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
		if _, err := io.ReadFull(conn, b); err != nil {
			return
		}
		p.add(beat{due, max(0, time.Since(due))})
	}
}

// remembered is the number of beats that are kept. At least half of them cover a minute or more.
const remembered = 10_000

func (p *pulse) add(b beat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.beats) == remembered {
		p.beats = slices.Delete(p.beats, 0, remembered/2)
	}
	p.beats = append(p.beats, b)
}

// worst returns the longest time that a byte took that was under way at since or later.
func (p *pulse) worst(since time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var worst time.Duration
	if !p.sent.IsZero() {
		worst = max(worst, time.Since(p.sent))
	}
	for _, b := range slices.Backward(p.beats) {
		if b.at.Add(b.took).Before(since) {
			break
		}
		worst = max(worst, b.took)
	}
	return worst
}

// An answer may take answerBase, and answerTimes the time of the control.
const (
	answerBase  = 2 * time.Second
	answerTimes = 20
)

// limit returns how long an answer may take.
func limit(control time.Duration) time.Duration { return answerBase + answerTimes*control }

// checkAnswer returns an error if an answer took too long.
func checkAnswer(who string, took, control time.Duration) error {
	if took <= limit(control) {
		return nil
	}
	return fmt.Errorf("%s was not answered within %v, while a plain connection took %v at most",
		who, took.Round(time.Millisecond), control.Round(time.Millisecond))
}
