package soak

import (
	"errors"
	"fmt"
	"time"
)

// upload makes a handler ask a question, sends more events than the server queues, and only then the answer. The handler
// must get the answer, and all events must be handled.
func upload(c *client) error {
	if err := c.begin(auth{}); err != nil {
		return err
	}
	id, answer := c.expect()
	packets := []packet{event(id, "do", order{Op: "ask"})}
	n := 5000
	if c.carrier == overPolling {
		n = min(n, c.maxPayload/25)
	}
	packets = append(packets, c.numberedBatch(n)...)
	if err := c.send(packets...); err != nil {
		return err
	}
	if _, err := wait(c, answer, "end of a handler that asks a client which is uploading"); err != nil {
		return err
	}
	return c.leave()
}

// rooms joins thousands of rooms, leaves half of them, and disconnects.
func rooms(c *client) error {
	if err := c.begin(auth{}); err != nil {
		return err
	}
	n := 1000 + c.rng.IntN(4000)
	name := c.key + " room "
	if c.round.plan.nodes > 1 {
		n /= 10 // each is a subscription
	}
	for range 2 {
		got, err := c.call("do", order{Op: "join", N: n, Room: name})
		if err != nil {
			return err
		}
		if string(got) != fmt.Sprint(n+1) { // with the room of its id
			return fmt.Errorf("it is in %s rooms after it has joined %d", got, n)
		}
	}
	got, err := c.call("do", order{Op: "leave", N: n / 2, Room: name})
	if err != nil {
		return err
	}
	if string(got) != fmt.Sprint(n+1-n/2) {
		return fmt.Errorf("it is in %s rooms after it has left %d of %d", got, n/2, n)
	}
	return c.leave()
}

// endedBy makes a handler end the session.
func endedBy(c *client, op string) error {
	if err := c.warmUp(); err != nil {
		return err
	}
	if err := c.emit("do", order{Op: op, Close: true}); err != nil {
		return err
	}
	_, err := wait(c, make(chan int), "end of the session after "+op)
	var gone *goneError
	if errors.As(err, &gone) {
		return nil
	}
	return err
}

// neverJoins opens a session and joins no namespace. The server must close it.
func neverJoins(c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	_, err := wait(c, make(chan int), "end of a session that joins no namespace")
	var gone *goneError
	if errors.As(err, &gone) {
		return nil
	}
	return err
}

// refused is refused by middleware, and then tries again.
func refused(c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	j, err := c.join("/", auth{Key: c.key, Gate: "refuse"})
	if err != nil {
		return err
	}
	if j.Message != "refused" {
		return fmt.Errorf("middleware refuses it, but the answer is %+v", j)
	}
	if err := c.enter(auth{}); err != nil {
		return err
	}
	return c.leave()
}

// resume loses its connection several times and resumes the session. It must not miss a broadcast.
func resume(c *client) error {
	if c.carrier == overPolling && c.rng.IntN(2) == 0 {
		c.carrier = overUpgrade
	}
	if err := c.begin(auth{Rooms: []string{"common"}}); err != nil {
		return err
	}
	for again := range 1 + c.rng.IntN(3) {
		if err := c.pause(between(c.rng, time.Millisecond, 300*time.Millisecond)); err != nil {
			return err
		}
		pid, id, err := c.resumable()
		if err != nil {
			return err
		}
		lost := time.Now()
		how := (*wire).close
		if c.rng.IntN(2) == 0 {
			how = (*wire).reset
		}
		c.cut(how)
		c.mu.Lock()
		offset := c.offset // of the last event
		c.mu.Unlock()
		next, err := comeBack(c, fmt.Sprintf("%s+%d", c.key, again), pid, offset, id, lost)
		if next == nil {
			return err
		}
		defer next.cut((*wire).close)
		c = next
		if err != nil {
			return err
		}
	}
	return c.leave()
}

// resumable waits until the client has an offset, and returns the other values that resuming its session requires.
func (c *client) resumable() (pid, id string, err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err := c.pause(10 * time.Millisecond); err != nil {
			return "", "", err
		}
		c.mu.Lock()
		offset := c.offset
		pid, id = c.pid, c.socketID
		c.mu.Unlock()
		if offset != "" {
			return pid, id, nil
		}
	}
	return "", "", &lateError{"broadcast with an offset"}
}

// comeBack returns a client that has resumed the session. Together with an error it may return a client to be cut.
func comeBack(c *client, key, pid, offset, id string, lost time.Time) (*client, error) {
	p := c.round.plan
	for {
		next := c.round.newClient(c.node, key, c.rng)
		numbers := *c.ticks // reading for c has ended
		next.ticks = &numbers
		if err := next.open(); err != nil {
			return next, err
		}
		next.mu.Lock()
		next.pid, next.offset = pid, offset // missed packets precede CONNECT
		next.mu.Unlock()
		j, err := next.join("/", auth{Key: key, PID: pid, Offset: offset})
		if err != nil {
			return next, err
		}
		if j.PID == pid && j.SID == id {
			return next, nil
		}
		// The server may not have noticed the loss yet. If no poll was under way, it does so by its heartbeat.
		if time.Since(lost) > p.heartbeat()+limit(c.round.pulse.worst(lost)) {
			return next, fmt.Errorf("the session %s is not resumed %v after it was lost", pid, time.Since(lost))
		}
		next.cut((*wire).close)
		key += "'"
		time.Sleep(50 * time.Millisecond)
	}
}
