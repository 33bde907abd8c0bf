package adapter

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/internal/ident"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// RecoveryOptions limits the state kept for clients that have lost their connection. The zero value selects the defaults. The
// limits on bytes and sessions apply to a node's memory; adapters that store sessions and packets elsewhere have other
// limits.
type RecoveryOptions struct {
	// MaxDisconnection is the time for which sessions and packets are kept. Zero means two minutes. Node.js:
	// connectionStateRecovery.maxDisconnectionDuration.
	MaxDisconnection time.Duration
	// MaxBytes limits the payload bytes of the stored packets of one namespace; the oldest are dropped first. Zero
	// means 64 MiB. The reference has no limit.
	MaxBytes int
	// MaxSessions limits the stored sessions of one namespace; the oldest are dropped first.
	// Zero means 1,000,000. The reference has no limit.
	MaxSessions int
}

const (
	defaultMaxDisconnection = 2 * time.Minute
	defaultMaxBytes         = 64 << 20
	defaultMaxSessions      = 1_000_000

	// packetCost is the estimated size in bytes of a stored packet without its payload.
	packetCost = 256
)

// recovery stores packets and sessions of a namespace for returning clients.
type recovery struct {
	opts  RecoveryOptions
	nonce string // distinguishes offsets of this process from earlier ones

	mu      sync.Mutex
	packets []*stored // consecutive numbers; the packets are immutable
	first   uint64    // the number of packets[0]
	bytes   int
	byPID   map[string]*lost
	queue   []*lost // in the order of their deadlines
	prune   *time.Timer
	closed  bool
}

// stored is a packet with the selection of sockets that it was for.
type stored struct {
	packet parser.Packet // with its offset as last argument
	rooms  []string
	except []string
	at     time.Time
	cost   int
}

// lost is a session whose client is away.
type lost struct {
	Session
	until time.Time
}

var nonces ident.Source

func (o *RecoveryOptions) withDefaults() RecoveryOptions {
	c := *o
	if c.MaxDisconnection <= 0 {
		c.MaxDisconnection = defaultMaxDisconnection
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.MaxSessions <= 0 {
		c.MaxSessions = defaultMaxSessions
	}
	return c
}

func newRecovery(o *RecoveryOptions) *recovery {
	r := &recovery{opts: o.withDefaults(), byPID: make(map[string]*lost), first: 1}
	r.nonce = nonces.New()[:6]
	return r
}

// store keeps a copy of p with its offset as last argument, and returns p with it.
func (r *recovery) store(p *parser.Packet, o Options) *parser.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	number := r.first + uint64(len(r.packets))
	with := WithOffset(p, r.nonce+"."+strconv.FormatUint(number, 36))
	if r.closed {
		return with
	}
	// The caller's slices are not kept beyond the broadcast.
	s := &stored{packet: with.Clone(), rooms: o.Rooms, except: o.Except, at: time.Now(), cost: packetCost + len(with.Data)}
	for _, b := range s.packet.Attachments {
		s.cost += len(b)
	}
	r.packets = append(r.packets, s)
	r.bytes += s.cost
	for r.bytes > r.opts.MaxBytes && len(r.packets) > 1 {
		r.dropFirstLocked()
	}
	r.pruneLocked(s.at)
	return with
}

func (r *recovery) dropFirstLocked() {
	r.bytes -= r.packets[0].cost
	r.packets[0] = nil
	r.packets = r.packets[1:]
	r.first++
}

// pruneLocked drops expired packets and sessions and arranges for the others to be dropped in time.
func (r *recovery) pruneLocked(now time.Time) {
	old := now.Add(-r.opts.MaxDisconnection)
	for len(r.packets) > 0 && r.packets[0].at.Before(old) {
		r.dropFirstLocked()
	}
	if len(r.packets) == 0 {
		r.packets = nil
	}
	for len(r.queue) > 0 && (r.queue[0].until.Before(now) || len(r.byPID) > r.opts.MaxSessions) {
		l := r.queue[0]
		if r.byPID[l.PID] == l {
			delete(r.byPID, l.PID)
		}
		r.queue[0] = nil
		r.queue = r.queue[1:]
	}
	if len(r.queue) == 0 {
		r.queue = nil
	}
	if r.prune == nil && !r.closed && (r.packets != nil || r.queue != nil) {
		r.prune = time.AfterFunc(r.opts.MaxDisconnection/2+time.Second, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.prune = nil
			r.pruneLocked(time.Now())
		})
	}
}

func (r *recovery) persist(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	now := time.Now()
	l := &lost{Session: *s, until: now.Add(r.opts.MaxDisconnection)}
	r.byPID[s.PID] = l
	r.queue = append(r.queue, l)
	r.pruneLocked(now)
}

// find returns the session with this secret, and the number of the packet that offset stands for, if it is kept.
func (r *recovery) find(pid, offset string) (s *lost, number uint64, ok bool) {
	nonce, digits, _ := strings.Cut(offset, ".")
	number, err := strconv.ParseUint(digits, 36, 64)
	if nonce != r.nonce || err != nil {
		return nil, 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pruneLocked(time.Now())
	s = r.byPID[pid]
	return s, number, s != nil && r.keepsLocked(number)
}

func (r *recovery) keepsLocked(number uint64) bool {
	return number >= r.first && number < r.first+uint64(len(r.packets))
}

// since returns the packets behind the one with this number. ok is false if they are not all kept any more.
func (r *recovery) since(number uint64) (packets []*stored, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.keepsLocked(number) {
		return nil, false
	}
	return slices.Clone(r.packets[number-r.first+1:]), true
}

// missed returns the packets that were for the session.
func (l *lost) missed(packets []*stored) iter.Seq[*parser.Packet] {
	return func(yield func(*parser.Packet) bool) {
		for _, s := range packets {
			if (len(s.rooms) == 0 || intersect(s.rooms, l.Rooms)) && !intersect(s.except, l.Rooms) && !yield(&s.packet) {
				return
			}
		}
	}
}

func intersect(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

func (r *recovery) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.packets, r.queue, r.byPID = nil, nil, nil
	if r.prune != nil {
		r.prune.Stop()
	}
}
