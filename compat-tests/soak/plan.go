package soak

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kinds of servers.
const (
	kindHandler    = "handler"    // an http.Handler, with epoll
	kindListener   = "listener"   // its own listener, with epoll
	kindGoroutines = "goroutines" // without epoll
	kindTLS        = "tls"
	kindRecovery   = "recovery" // with connection state recovery
	kindCluster    = "cluster"  // three nodes over Redis
	kindCrowd      = "crowd"    // with thousands of sessions at once
)

// Kinds lists the kinds of servers in the order of the rounds.
var Kinds = []string{kindHandler, kindListener, kindGoroutines, kindTLS, kindRecovery, kindCluster, kindCrowd}

// plan holds the options of a round.
type plan struct {
	kind    string
	nodes   int
	clients int
	length  time.Duration

	own      bool // the server listens itself
	epoll    bool
	secure   bool
	recovery bool
	sharded  bool // Redis's sharded publish/subscribe
	hooks    bool
	requests bool // with AllowRequest and Value
	deflate  bool
	oldToo   bool // with protocol v3
	graceful bool // stopped with Shutdown instead of Close
	stubborn bool // silent clients never answer a close frame

	pingInterval time.Duration
	pingTimeout  time.Duration
	idle         time.Duration // limit for idle HTTP connections
	kept         time.Duration // how long lost sessions can be resumed
	maxPayload   int
	maxQueued    int
	threshold    int // for compressing HTTP responses
	loops        int
}

// newPlan chooses the options of a round.
func newPlan(rng *rand.Rand, kind string, clients int, length time.Duration) *plan {
	coin := func() bool { return rng.IntN(2) == 0 }
	p := &plan{
		kind: kind, nodes: 1, clients: clients, length: length,
		own: coin(), epoll: coin(), hooks: coin(), requests: coin(), deflate: coin(), oldToo: coin(), graceful: coin(),
		sharded:      coin(),
		pingInterval: between(rng, 300*time.Millisecond, time.Second),
		pingTimeout:  between(rng, time.Second, 1500*time.Millisecond),
		idle:         time.Second,
		maxPayload:   pick(rng, 100_000, 200_000, 1_000_000),
		maxQueued:    pick(rng, 512<<10, 1<<20, 4<<20, 0),
		threshold:    pick(rng, -1, 0, 10_000),
		stubborn:     rng.IntN(12) == 0,
		loops:        pick(rng, 0, 1, 3),
	}
	switch kind {
	case kindHandler:
		p.own, p.epoll, p.oldToo = false, true, true
	case kindListener:
		p.own, p.epoll = true, true
	case kindGoroutines:
		p.epoll = false
	case kindTLS:
		p.secure = true
	case kindRecovery:
		// In each of these rounds sessions end inside a broadcast while a hook emits.
		p.recovery, p.hooks, p.maxQueued = true, true, 512<<10
		p.kept = p.heartbeat() + 2*time.Second
	case kindCluster:
		p.nodes = 3
	case kindCrowd:
		// The crowd must be complete before its first session times out.
		p.pingInterval, p.pingTimeout, p.hooks, p.requests = 10*time.Minute, time.Minute, false, false
	}
	return p
}

func (p *plan) String() string {
	how := ""
	for _, word := range []struct {
		is   bool
		text string
	}{
		{p.own, "own listener"}, {!p.own, "http.Handler"}, {p.epoll, "epoll"}, {p.secure, "TLS"}, {p.recovery, "recovery"},
		{p.nodes > 1 && p.sharded, "sharded"}, {p.hooks, "hooks"}, {p.requests, "AllowRequest"}, {p.deflate, "deflate"},
		{p.oldToo, "protocol 3 too"}, {p.stubborn, "stubborn"}, {p.graceful, "Shutdown"}, {!p.graceful, "Close"},
	} {
		if word.is {
			how += word.text + ", "
		}
	}
	return fmt.Sprintf("%s: %spings %v+%v, payload %d, queue %d, compression from %d, loops %d",
		p.kind, how, p.pingInterval, p.pingTimeout, p.maxPayload, p.maxQueued, p.threshold, p.loops)
}

// heartbeat returns how long the session of a silent client may last: until the next ping, and twice the time-out, which
// the server may extend once.
func (p *plan) heartbeat() time.Duration { return p.pingInterval + 2*p.pingTimeout }

// queueLimit returns how many bytes may wait for a client, or 1 MiB if that is less.
func (p *plan) queueLimit() int {
	if p.maxQueued == 0 {
		return 1 << 20
	}
	return min(p.maxQueued, 1<<20)
}

// newRand returns a generator that depends on all of its arguments.
func newRand(seed uint64, path ...int) *rand.Rand {
	h := seed
	for _, n := range path {
		h = (h ^ uint64(int64(n)+1)) * 0x9E3779B97F4A7C15
		h ^= h >> 29
	}
	return rand.New(rand.NewPCG(seed, h))
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// between returns a random duration in whole milliseconds.
func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64((high-low)/time.Millisecond)))*time.Millisecond
}
