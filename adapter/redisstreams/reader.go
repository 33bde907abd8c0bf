package redisstreams

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// answerTime is how long Redis may take to answer beyond the time that it may wait.
	answerTime = 5 * time.Second
	// The time before a connection is tried again.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// reader reads one stream, from its present end on, for the namespaces of a factory. While there are any, one
// goroutine does so, on a connection of its own.
type reader struct {
	client redis.UniversalClient
	stream string
	opts   *Options
	logger *slog.Logger

	mu       sync.Mutex // held while an entry is handled
	backends map[string]*backend
	located  bool     // there is a position
	position position // of the last entry that has been handled
	reading  bool     // entries are handled as they come
	waiting  []waiter
	cancel   context.CancelFunc
	ended    chan struct{} // closed when the goroutine has ended
}

func newReader(client redis.UniversalClient, stream string, o *Options) *reader {
	r := &reader{client: client, stream: stream, opts: o, logger: o.Logger, backends: make(map[string]*backend)}
	if r.logger == nil {
		r.logger = slog.Default()
	}
	return r
}

// waiter waits until a position has been handled.
type waiter struct {
	position position
	reached  chan struct{}
}

// attach hands the entries of a namespace to b, from where b joins the other nodes on, if answers come then.
func (r *reader) attach(b *backend) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backends[b.node.Namespace()] = b
	b.node.Returning(r.reading)
	if r.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	before := r.ended
	r.cancel, r.ended, r.located = cancel, make(chan struct{}), false
	go r.run(ctx, before, r.ended)
}

// hears takes note that answers to b come, which joins the other nodes now, unless the reader has no place yet.
func (r *reader) hears(b *backend) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.backends[b.node.Namespace()] != b {
		return
	}
	b.hears = true
	if r.located {
		b.join()
	}
}

// detach ends that. When it returns, nothing more is handed over and, if b was the last one, nothing more read.
func (r *reader) detach(b *backend) {
	r.mu.Lock()
	if r.backends[b.node.Namespace()] == b {
		delete(r.backends, b.node.Namespace())
	}
	if len(r.backends) > 0 || r.cancel == nil {
		r.mu.Unlock()
		return
	}
	r.cancel()
	r.cancel = nil
	ended := r.ended
	r.mu.Unlock()
	<-ended
}

// run reads until ctx ends. before, if not nil, is closed when nobody else does.
func (r *reader) run(ctx context.Context, before, ended chan struct{}) {
	defer close(ended)
	if before != nil {
		<-before
	}
	down, delay := false, minBackoff
	for {
		err := r.read(ctx, func() {
			delay = minBackoff
			if down {
				down = false
				r.logger.Info("reading from Redis again", "stream", r.stream)
			}
		})
		if ctx.Err() != nil {
			return
		}
		if !down {
			down = true
			r.logger.Warn("stream of Redis cannot be read", "stream", r.stream, "err", err)
		}
		if cluster, ok := r.client.(*redis.ClusterClient); ok {
			cluster.ReloadState(ctx)
		}
		select {
		case <-time.After(delay):
			delay = min(2*delay, maxBackoff)
		case <-ctx.Done():
			return
		}
	}
}

// read connects and handles entries until that fails, or ctx ends. It calls works when Redis answers.
func (r *reader) read(ctx context.Context, works func()) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	// A command that waits does not heed the end of its context.
	defer context.AfterFunc(ctx, conn.cut)()
	if err := r.locate(ctx, conn); err != nil {
		return err
	}
	works()
	r.setReading(true)
	defer r.setReading(false)
	for {
		entries, err := r.next(ctx, conn)
		if err != nil {
			return err
		}
		for i := range entries {
			r.handle(&entries[i])
		}
	}
}

// line is a client of one connection, which can be cut while a command waits.
type line struct {
	*redis.Client

	mu   sync.Mutex
	conn net.Conn // the last one
}

func newLine(o redis.Options) *line {
	l := new(line)
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conn = conn
		return conn, nil
	}
	o.PoolSize, o.MinIdleConns, o.ContextTimeoutEnabled = 1, 0, true
	o.MaxRetries, o.DialerRetries = -1, 1 // the reader tries again itself
	// What is pushed is for the other client.
	o.PushNotificationProcessor, o.ClientSideCacheConfig, o.ClientSideCache = nil, nil, nil
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	l.Client = redis.NewClient(&o)
	return l
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.Close()
	}
}

func (l *line) close() { _ = l.Close() } // it is of no use any more, whatever it says

// connect returns a line to the server that has the stream.
func (r *reader) connect(ctx context.Context) (*line, error) {
	var server *redis.Client
	var err error
	switch c := r.client.(type) {
	case *redis.Client:
		server = c
	case *redis.ClusterClient:
		server, err = c.MasterForKey(ctx, r.stream)
	default:
		err = errors.New("redisstreams: unknown kind of client")
	}
	if err != nil {
		return nil, err
	}
	return newLine(*server.Options()), nil
}

// locate sets the position to the end of the stream, unless there is one that entries can follow.
func (r *reader) locate(ctx context.Context, conn *line) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	newest, err := conn.XRevRangeN(ctx, r.stream, "+", "-", 1).Result()
	if err != nil {
		return err
	}
	oldest, err := conn.XRangeN(ctx, r.stream, "-", "+", 1).Result()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last, first := positionOf(newest), positionOf(oldest)
	switch {
	case !r.located:
		for _, b := range r.backends {
			if b.hears {
				b.join()
			}
		}
	case last.before(r.position):
		r.lostLocked() // the stream is not the one that it was
	case r.position.before(first):
		r.lostLocked() // it has been trimmed meanwhile
		return nil
	default:
		return nil
	}
	r.located = true
	r.reachLocked(last)
	return nil
}

// setReading tells the namespaces whether what they publish comes back.
func (r *reader) setReading(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = on
	for _, b := range r.backends {
		b.node.Returning(on)
	}
}

// reachLocked takes note that everything up to p has been handled.
func (r *reader) reachLocked(p position) {
	r.position = p
	r.waiting = slices.DeleteFunc(r.waiting, func(w waiter) bool {
		if p.before(w.position) {
			return false
		}
		close(w.reached)
		return true
	})
}

// await returns when everything up to p has been handled, or ctx ends.
func (r *reader) await(ctx context.Context, p position) error {
	r.mu.Lock()
	if r.located && !r.position.before(p) {
		r.mu.Unlock()
		return nil
	}
	w := waiter{p, make(chan struct{})}
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.DeleteFunc(r.waiting, func(other waiter) bool { return other.reached == w.reached })
	return context.Cause(ctx)
}

// attempt calls f with the present position, and nothing is handled meanwhile. It does not, and returns false, if
// entries behind last have been handled.
func (r *reader) attempt(last position, f func(at position)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last.before(r.position) {
		return false
	}
	f(r.position)
	return true
}

// positionOf returns that of the only entry in a list, or the one before all entries.
func positionOf(list []redis.XMessage) position {
	if len(list) == 0 {
		return position{}
	}
	p, _ := parsePosition(list[0].ID)
	return p
}

func (r *reader) lostLocked() {
	for _, b := range r.backends {
		b.node.Lost()
	}
}

// next waits for entries. There may be none.
func (r *reader) next(ctx context.Context, conn *line) ([]redis.XMessage, error) {
	r.mu.Lock()
	after := r.position.String()
	r.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, r.opts.BlockTime+answerTime)
	defer cancel()
	streams, err := conn.XRead(limited, &redis.XReadArgs{
		Streams: []string{r.stream, after}, Count: r.opts.ReadCount, Block: r.opts.BlockTime,
	}).Result()
	if errors.Is(err, redis.Nil) {
		// Somebody may have put another stream into the place of this one.
		return nil, r.locate(ctx, conn)
	}
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	return streams[0].Messages, nil
}

// handle hands an entry to the namespace that it is for, if there is one here. Whatever becomes of it, it is not read
// again.
func (r *reader) handle(m *redis.XMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := newEntry(m)
	if b := r.backends[e.namespace]; b != nil {
		b.handleEntry(e)
	}
	if p, ok := parsePosition(m.ID); ok {
		r.reachLocked(p)
	}
}
