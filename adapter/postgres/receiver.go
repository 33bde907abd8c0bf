package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// checkInterval is the time between two looks at whether the connection is alive, and how long anything but
	// waiting may take on it. So it is given up after it was silent for two of them.
	checkInterval = 5 * time.Second
	// The time before the connection is tried again, half of which is left to chance.
	minBackoff = 100 * time.Millisecond
	maxBackoff = 2 * time.Second
	// closeTimeout is how long a farewell may take.
	closeTimeout = time.Second
)

// subscription is somebody's interest in a channel.
type subscription struct {
	channel string
	// handle is called with each notification, in the order in which they come. It must not block. The payload is
	// its own.
	handle func(payload []byte)
	// connected is called when notifications come from now on.
	connected func()
	// lost is called when notifications may have been lost.
	lost func()
}

// receiver keeps subscriptions up. While there are any, it has a listener; without, it holds nothing.
type receiver struct {
	pool   *pool
	opts   *Options
	logger *slog.Logger
	// interval is checkInterval. Tests have less time.
	interval time.Duration

	mu       sync.Mutex
	wanted   map[string][]*subscription // by channel; the slices are not changed
	listener *listener
}

func newReceiver(p *pool, o *Options) *receiver {
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	return &receiver{
		pool: p, opts: o, logger: logger, interval: checkInterval, wanted: make(map[string][]*subscription),
	}
}

// subscribe makes s be told what is notified on its channel, soon. It does not block.
func (r *receiver) subscribe(s *subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted[s.channel] = append(slices.Clone(r.wanted[s.channel]), s)
	if r.listener == nil {
		r.listener = newListener(r)
		go r.listener.run()
	}
	r.listener.changeLocked(s.channel)
}

// unsubscribe ends that at once. If s is the last, it waits until the connection has ended, or until ctx ends.
func (r *receiver) unsubscribe(ctx context.Context, s *subscription) error {
	r.mu.Lock()
	rest := slices.DeleteFunc(slices.Clone(r.wanted[s.channel]), func(o *subscription) bool { return o == s })
	if len(rest) > 0 {
		r.wanted[s.channel] = rest
		r.mu.Unlock()
		return nil
	}
	delete(r.wanted, s.channel)
	l := r.listener
	if len(r.wanted) > 0 {
		l.changeLocked(s.channel)
		r.mu.Unlock()
		return nil
	}
	r.listener = nil
	l.stopLocked()
	r.mu.Unlock()
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// listener is the time during which there are subscriptions. One goroutine, run, has the connection that listens, and
// one deletes old attachments.
type listener struct {
	*receiver
	ctx   context.Context
	stop  context.CancelFunc
	ended chan struct{} // closed when run has returned
	down  bool          // the connection has failed, and does not work again
	heard bool          // a notification has come since the last look

	// Guarded by receiver.mu.
	changed map[string]struct{} // channels that run has not looked at since they changed
	waiting net.Conn            // the connection, while run waits for a notification
}

func newListener(r *receiver) *listener {
	l := &listener{receiver: r, ended: make(chan struct{}), changed: make(map[string]struct{})}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

func (l *listener) changeLocked(channel string) {
	l.changed[channel] = struct{}{}
	l.interruptLocked()
}

func (l *listener) stopLocked() {
	l.stop()
	l.interruptLocked()
}

// interruptLocked makes run look at what has changed.
func (l *listener) interruptLocked() {
	if l.waiting != nil {
		_ = l.waiting.SetReadDeadline(time.Unix(1, 0)) // a connection that has ended interrupts by itself
	}
}

// subscribed returns who is interested in a channel: nobody, once another listener has taken over.
func (l *listener) subscribed(channel string) []*subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != l {
		return nil
	}
	return l.wanted[channel]
}

// run listens until there are no subscriptions any more.
func (l *listener) run() {
	defer close(l.ended)
	var cleaning sync.WaitGroup
	cleaning.Go(l.clean)
	defer cleaning.Wait()
	for delay := minBackoff; ; delay = min(2*delay, maxBackoff) {
		begun := time.Now()
		err := l.listen()
		if l.ctx.Err() != nil {
			return
		}
		l.pool.suspect()
		if !l.down {
			l.down = true
			l.logger.Warn("connection to PostgreSQL that listens lost", "err", err)
		}
		if time.Since(begun) > l.interval {
			delay = minBackoff
		}
		select {
		case <-time.After(delay/2 + rand.N(delay/2)):
		case <-l.ctx.Done():
			return
		}
	}
}

// listen returns why the connection ended. There is no error if it was to end.
func (l *listener) listen() error {
	conn, err := l.connect()
	if err != nil {
		return err
	}
	told := make(map[string]struct{}) // channels that PostgreSQL has been told of
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = conn.Close(ctx) // it is of no use any more, whatever it says
		if l.ctx.Err() == nil {
			for channel := range told {
				for _, s := range l.subscribed(channel) {
					s.lost()
				}
			}
		}
	}()
	l.mu.Lock()
	for channel := range l.wanted {
		l.changed[channel] = struct{}{}
	}
	l.mu.Unlock()
	for {
		if err := l.update(conn, told); err != nil {
			return err
		}
		if err := l.wait(conn); err != nil {
			return err
		}
	}
}

func (l *listener) connect() (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.interval)
	defer cancel()
	config := l.pool.Config()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	config.ConnConfig.Config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		l.heard = true
		for _, s := range l.subscribed(n.Channel) {
			s.handle([]byte(n.Payload))
		}
	}
	return pgconn.ConnectConfig(ctx, &config.ConnConfig.Config)
}

// update tells PostgreSQL of channels that have changed.
func (l *listener) update(conn *pgconn.PgConn, told map[string]struct{}) error {
	l.mu.Lock()
	var channels, statements []string
	for channel := range l.changed {
		statement := "LISTEN "
		if len(l.wanted[channel]) == 0 {
			if _, ok := told[channel]; !ok {
				continue
			}
			statement = "UNLISTEN "
		}
		channels, statements = append(channels, channel), append(statements, statement+pgx.Identifier{channel}.Sanitize())
	}
	clear(l.changed)
	l.mu.Unlock()
	if len(channels) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.interval)
	defer cancel()
	errs := inPipeline(ctx, conn, len(channels), func(p *pgconn.Pipeline, i int) {
		p.SendQueryParams(statements[i], nil, nil, nil, nil)
	})
	for i, channel := range channels {
		switch err := errs[i]; {
		case err != nil && !isAboutText(err):
			return err
		case err != nil:
			// Others are not to suffer from a name that does not exist in the encoding of the database.
			l.logger.Warn("PostgreSQL does not listen to a channel", "channel", channel, "err", err)
		case strings.HasPrefix(statements[i], "UNLISTEN"): // who has subscribed meanwhile is for the next time
			delete(told, channel)
		default:
			told[channel] = struct{}{}
			for _, s := range l.subscribed(channel) {
				s.connected()
			}
		}
	}
	if l.down {
		l.down = false
		l.logger.Info("listening to PostgreSQL again")
	}
	return nil
}

// isAboutText reports whether a statement failed because of its text: class 22, data exception.
func isAboutText(err error) bool {
	var statement *pgconn.PgError
	return errors.As(err, &statement) && len(statement.Code) == 5 && statement.Code[:2] == "22"
}

// wait has notifications handled until there is something else to do. It looks after a connection that is silent.
func (l *listener) wait(conn *pgconn.PgConn) error {
	l.mu.Lock()
	if l.ctx.Err() != nil || len(l.changed) > 0 {
		l.mu.Unlock()
		return l.ctx.Err()
	}
	l.waiting = conn.Conn()
	_ = l.waiting.SetReadDeadline(time.Now().Add(l.interval)) // a connection that has ended says so when it is read
	l.mu.Unlock()

	l.heard = false
	var err error
	for err == nil {
		err = conn.WaitForNotification(context.Background()) // the deadline is that of the connection
	}

	l.mu.Lock()
	_ = l.waiting.SetReadDeadline(time.Time{})
	l.waiting = nil
	changed := len(l.changed) > 0
	l.mu.Unlock()
	switch {
	case !pgconn.Timeout(err):
		return err
	case l.ctx.Err() != nil || changed || l.heard:
		return l.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.interval)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("postgres: connection has gone silent: %w", err)
	}
	return nil
}

// clean deletes old attachments from time to time: those of all nodes.
func (l *listener) clean() {
	statement := fmt.Sprintf("DELETE FROM %s WHERE created_at < now() - interval '%d milliseconds'",
		l.opts.TableName, max(l.opts.CleanupInterval.Milliseconds(), 1))
	ticker := time.NewTicker(l.opts.CleanupInterval)
	defer ticker.Stop()
	failed := false
	for {
		select {
		case <-ticker.C:
		case <-l.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(l.ctx, max(l.opts.CleanupInterval, l.interval))
		_, err := l.pool.Exec(ctx, statement)
		cancel()
		if err != nil && !failed && l.ctx.Err() == nil {
			l.logger.Warn("old attachments in PostgreSQL cannot be deleted", "err", err)
		}
		failed = err != nil
	}
}
