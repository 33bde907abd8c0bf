package soak

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// populate runs clients one after another in each slot, beside quiet ones, for the length of the round.
func (r *round) populate() {
	var all sync.WaitGroup
	for _, n := range r.nodes {
		for i, carrier := range carriers {
			all.Go(func() { r.quiet(n, i, carrier) })
		}
	}
	all.Go(r.tick)
	for slot := range r.plan.clients {
		all.Go(func() { r.liveOn(slot) })
	}
	select {
	case <-time.After(r.plan.length):
	case <-r.ctx.Done():
	}
	close(r.stop)
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	// Whatever a client waits for is bounded by patience.
	r.await(3*patience, func() []string {
		select {
		case <-ended:
			return nil
		default:
			return r.doing()
		}
	})
	if r.failed() {
		select {
		case <-ended:
		case <-time.After(5 * time.Second): // the run ends anyway
		}
	}
}

// begins records what a client is doing until the returned function is called.
func (r *round) begins(key, what string) (ends func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[key] = what
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.running, key)
	}
}

func (r *round) doing() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(r.running)) {
		list = append(list, fmt.Sprintf("client %s does not get done with %q", key, r.running[key]))
	}
	return list
}

func (r *round) isStopping() bool {
	select {
	case <-r.stop:
		return true
	case <-r.ctx.Done():
		return true
	default:
		return false
	}
}

// tick broadcasts numbered events.
func (r *round) tick() {
	defer r.begins("ticker", "broadcast")()
	for n := 0; !r.isStopping(); n++ {
		began := time.Now()
		r.ticking.Store(&began)
		r.fine(r.nodes[0].server.Emit("tick", n))
		r.ticking.Store(nil)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.stop:
		}
	}
}

// liveOn runs one client after another.
func (r *round) liveOn(slot int) {
	for life := 0; !r.isStopping(); life++ {
		rng := newRand(r.soak.config.Seed, r.number, slot, life)
		c := r.newClient(pick(rng, r.nodes...), fmt.Sprintf("%d.%d", slot, life), rng)
		a := r.soak.choose(rng, r.plan)
		if a == nil {
			return
		}
		c.action = a.name
		ends := r.begins(c.key, a.name)
		err := a.run(c)
		if !c.held {
			c.cut((*wire).close)
		}
		ends()
		if a.polite {
			r.judge(c, err)
		}
		r.soak.count(a.name, 1)
		select {
		case <-time.After(between(rng, time.Millisecond, 100*time.Millisecond)):
		case <-r.stop:
		}
	}
}

// newClient returns a client that makes its choices with rng.
func (r *round) newClient(n *node, key string, rng *rand.Rand) *client {
	return &client{
		round: r, node: n, key: key, rng: rng, since: time.Now(),
		carrier: pick(rng, carriers...), deflate: rng.IntN(2) == 0, gzip: rng.IntN(2) == 0, ticks: new(sequence),
	}
}

// quiet runs a client that sends little and must always be answered.
func (r *round) quiet(n *node, index int, carrier string) {
	rng := newRand(r.soak.config.Seed, r.number, -1, n.index, index)
	c := r.newClient(n, fmt.Sprintf("quiet %d.%d", n.index, index), rng)
	c.action, c.carrier = "quiet", carrier
	defer r.begins(c.key, "quiet")()
	defer c.cut((*wire).close)
	r.judge(c, r.ask(c))
}

func (r *round) ask(c *client) error {
	if err := c.begin(auth{Rooms: []string{quietRoom}}); err != nil {
		return err
	}
	for !r.isStopping() {
		asked := time.Now()
		if _, err := c.call("quiet"); err != nil {
			return err
		}
		took := time.Since(asked)
		if err := checkAnswer("quiet client "+c.key, took, r.pulse.worst(asked)); err != nil {
			r.fail("%v", err)
		}
		r.mu.Lock()
		r.answers++
		r.slowest = max(r.slowest, took)
		r.mu.Unlock()
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.stop:
		}
	}
	return c.leave()
}

// doom starts the time limit for the end of a session whose client has left or is silent from now on.
func (r *round) doom(c *client, why string) {
	if c.sid != "" {
		r.sessions.watch(session{c.node.index, c.sid}, fmt.Sprintf("client %v (%s)", c, why), time.Now().Add(r.plan.heartbeat()))
	}
}

// hold makes a client silent, with open connections.
func (r *round) hold(c *client, why string) {
	c.goDeaf()
	c.mute.Store(true)
	c.held = true
	r.doom(c, why)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, c)
}

// mayHold reports whether the round has room for another silent client.
func (r *round) mayHold() bool {
	const most = 500
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held) < most
}
