package soak

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/socketio"
)

// session names an Engine.IO session.
type session struct {
	node int
	id   string
}

func (s session) String() string { return fmt.Sprintf("session %s on node %d", s.id, s.node) }

// round is the state of a round.
type round struct {
	soak   *soak
	number int
	plan   *plan
	nodes  []*node
	ctx    context.Context // ends when the round fails
	giveUp context.CancelFunc
	stop   chan struct{} // closed when clients are to leave
	ending atomic.Bool   // the servers are being stopped

	open     atomic.Int64  // connections of clients
	live     *atomic.Int64 // sockets, and with hooks sessions, that are not freed yet
	ledger   ledger
	handlers attendance
	sessions vigil[session]
	pulse    pulse
	volume   volume
	ticking  atomic.Pointer[time.Time] // when the current broadcast of tick began
	inside   atomic.Uint64             // calls of emitInside

	mu       sync.Mutex
	running  map[string]string // actions by client
	held     []*client         // silent clients
	faults   []string
	warnings []string
	dump     string        // goroutines at the first fault
	answers  int           // to quiet clients
	slowest  time.Duration // of them
	starved  int           // clients lost because the machine was too busy
	phases   []string      // and how long each took
	lap      time.Time
	began    time.Time
}

func newRound(s *soak, number int, p *plan) *round {
	r := &round{soak: s, number: number, plan: p, stop: make(chan struct{}), live: new(atomic.Int64), running: make(map[string]string)}
	r.ctx, r.giveUp = context.WithCancel(context.Background())
	r.began = time.Now()
	r.lap = r.began
	r.volume.rate = float64(p.queueLimit()) / 4
	return r
}

// run runs the round.
func (r *round) run() {
	defer r.giveUp()
	process := gauges{goroutinesGauge: runtime.NumGoroutine(), descriptorsGauge: descriptors(), heapGauge: heap()}
	ctx, stopPulse := context.WithCancel(context.Background())
	defer stopPulse()
	beating, err := r.pulse.start(ctx)
	if err != nil {
		r.fail("%v", err)
		return
	}
	if r.begin() && r.use() {
		r.took("memory")
		r.stopUnderClients()
	}
	for _, c := range r.held {
		c.cut((*wire).close)
	}
	r.end()
	r.took("stop")
	stopPulse()
	beating()
	if !r.failed() {
		r.await(patience, func() []string {
			now := gauges{goroutinesGauge: runtime.NumGoroutine(), descriptorsGauge: descriptors()}
			return prefixed("after the servers have stopped: ", now.above(process, nil))
		})
		r.await(patience, func() []string {
			return prefixed("after the servers have stopped: ", gauges{heapGauge: heap()}.above(process, gauges{heapGauge: heapSlack}))
		})
	}
}

// heapSlack is how many bytes the heap may grow in a round.
const heapSlack = 8 << 20

// begin starts the nodes.
func (r *round) begin() bool {
	for i := range r.plan.nodes {
		n, err := r.start(i)
		r.nodes = append(r.nodes, n)
		if err != nil {
			r.fail("%v", err)
			return false
		}
	}
	return r.await(patience, func() (alone []string) {
		for _, n := range r.nodes {
			if count, err := n.server.Adapter().ServerCount(r.ctx); err != nil || count != len(r.nodes) {
				alone = append(alone, fmt.Sprintf("node %d knows %d nodes: %v", n.index, count, err))
			}
		}
		return alone
	})
}

// use runs the clients, and waits until the nodes hold no more than before.
func (r *round) use() bool {
	idle := r.measure()
	// A server makes some of its descriptors and goroutines for the first clients.
	for _, n := range r.nodes {
		for i, carrier := range carriers {
			c := r.newClient(n, fmt.Sprintf("first %d.%d", n.index, i), newRand(r.soak.config.Seed, r.number, n.index, i))
			c.action, c.carrier = "first", carrier
			err := politely(c)
			c.cut((*wire).close)
			r.judge(c, err)
		}
	}
	const any = 1 << 30
	if !r.await(patience, func() []string {
		return r.measure().above(idle, gauges{goroutinesGauge: any, descriptorsGauge: any})
	}) {
		return false
	}
	base, memory := r.measure(), heap()
	r.took("start")

	var all sync.WaitGroup
	watched := make(chan struct{})
	all.Go(func() { r.watch(watched) })
	if r.plan.kind == kindCrowd {
		r.crowd()
	} else {
		r.populate()
	}
	r.took("use")
	passed := !r.failed() && r.drain(base, memory)
	close(watched)
	all.Wait()
	return passed && !r.failed()
}

// drain waits until the nodes hold no more than base, and the heap no more than memory bytes. It checks that the events
// of the clients were handled.
func (r *round) drain(base gauges, memory int) bool {
	p := r.plan
	slack := gauges{goroutinesGauge: 4 + 2*runtime.GOMAXPROCS(0)}
	if p.nodes > 1 {
		slack[descriptorsGauge] = p.nodes // a connection to Redis may be being replaced
	}
	ended := r.await(p.heartbeat()+heartbeatGrace+patience, func() []string {
		now := r.measure()
		return append(gauges{"sessions": now["sessions"]}.above(base, nil), r.handlers.present(time.Now())...)
	})
	if !ended {
		return false
	}
	grace := patience
	if p.stubborn {
		grace += webSocketGrace
	} else {
		r.release()
	}
	r.took("sessions")
	passed := r.await(p.idle+p.kept+grace, func() []string { return r.measure().above(base, slack) })
	if !passed {
		r.accuse()
		return false
	}
	r.took("descriptors")
	excused := ""
	if r.tooBusy(r.began) {
		excused = string(socketio.PingTimeout)
	}
	for _, missing := range r.ledger.settle(excused) {
		r.fail("%s", missing)
	}
	return r.await(patience, func() []string {
		now := gauges{heapGauge: heap()}
		now["sockets and sessions that are not freed"] = int(r.live.Load())
		return now.above(gauges{heapGauge: memory}, gauges{heapGauge: heapSlack})
	})
}

// webSocketGrace is how long a server waits for the answer to a close frame.
const webSocketGrace = 30 * time.Second

// release closes the WebSockets of silent clients. Their sessions have ended, but the server waits for the answer to its
// close frame. HTTP connections stay open, because the server closes idle ones.
func (r *round) release() {
	for _, c := range r.held {
		for _, w := range c.connections() {
			if w.webSocket {
				w.close()
			}
		}
	}
}

// stopUnderClients stops the nodes while clients are connected, and checks that the clients notice.
func (r *round) stopUnderClients() {
	var clients []*client
	for _, n := range r.nodes {
		for i, carrier := range carriers {
			c := r.newClient(n, fmt.Sprintf("last %d.%d", n.index, i), newRand(r.soak.config.Seed, r.number, -2, n.index, i))
			c.action, c.carrier = "last", carrier
			err := c.begin(auth{})
			r.judge(c, err)
			if err == nil {
				clients = append(clients, c)
			}
		}
	}
	r.end()
	for _, c := range clients {
		select {
		case <-c.ended:
		case <-time.After(patience):
			r.fail("client %v is not told that the server has stopped", c)
		}
		c.cut((*wire).close)
	}
}

// end stops the nodes. It is called more than once.
func (r *round) end() {
	if r.ending.Swap(true) {
		return
	}
	var all sync.WaitGroup
	for _, n := range r.nodes {
		all.Go(func() {
			if err := n.stop(r.plan.graceful && !r.failed()); err != nil {
				r.fail("node %d does not end: %v", n.index, err)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	limit := 2 * patience
	if r.failed() {
		limit = 5 * time.Second // they may be stuck
	}
	select {
	case <-ended:
	case <-time.After(limit):
		r.fail("the servers do not end")
	}
}

// took records the time since the previous call.
func (r *round) took(what string) {
	now := time.Now()
	r.phases = append(r.phases, fmt.Sprintf("%s %v", what, now.Sub(r.lap).Round(10*time.Millisecond)))
	r.lap = now
}

// summary describes the round in a line.
func (r *round) summary() string {
	var opened, upgraded, refused uint64
	for _, n := range r.nodes {
		stats := n.server.Engine().Stats()
		opened, upgraded, refused = opened+stats.Opened, upgraded+stats.Upgraded, refused+stats.Refused
	}
	return fmt.Sprintf("%d sessions (%d upgraded), %d requests refused, %d numbered events, %d answers to quiet clients, the slowest after %v (control %v), %d clients starved; %s",
		opened, upgraded, refused, r.ledger.total, r.answers, r.slowest.Round(time.Millisecond),
		r.pulse.worst(time.Time{}).Round(time.Millisecond), r.starved, strings.Join(r.phases, ", "))
}
