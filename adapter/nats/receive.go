package nats

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/internal/subscribe"
)

// feedSize is the capacity of the channel that the client delivers to, in messages.
const feedSize = 1 << 15

var (
	errClosed       = errors.New("connection closed permanently")
	errDisconnected = errors.New("not connected")
)

// driver implements subscribe.Driver over the application's connection, which reconnects by itself.
type driver struct{ conn *nats.Conn }

func newReceiver(conn *nats.Conn, o *Options) *subscribe.Receiver {
	// A wait for room would be useless: meanwhile the client drops messages.
	return subscribe.New(driver{conn}, subscribe.Options{
		Backend: "NATS", Logger: o.Logger, MaxPendingBytes: o.MaxPendingBytes, Patience: -1,
	})
}

// Locate implements subscribe.Driver.
func (driver) Locate(context.Context, string) (key string, err error) { return "", nil }

// Open implements subscribe.Driver. A Conn lasts as long as the client stays connected.
func (d driver) Open(_ context.Context, _ string, f *subscribe.Feed) (subscribe.Conn, error) {
	c := &conn{
		driver: d, feed: f, messages: make(chan *nats.Msg, feedSize), subs: make(map[string]*nats.Subscription),
		statuses: d.conn.StatusChanged(nats.RECONNECTING, nats.CLOSED),
	}
	if !d.conn.IsConnected() {
		d.conn.RemoveStatusListener(c.statuses)
		return nil, d.why()
	}
	return c, nil
}

// why returns an error that explains why the client is not connected.
func (d driver) why() error {
	err := errDisconnected
	if d.conn.IsClosed() {
		err = errClosed
	}
	if last := d.conn.LastError(); last != nil {
		return fmt.Errorf("nats: %w: %w", err, last)
	}
	return fmt.Errorf("nats: %w", err)
}

// conn implements subscribe.Conn. All subjects share one Go channel, so messages of another node stay in order across
// subjects.
type conn struct {
	driver
	feed     *subscribe.Feed
	messages chan *nats.Msg
	statuses chan nats.Status
	subs     map[string]*nats.Subscription // by subject
}

// Subscribe implements subscribe.Conn.
func (c *conn) Subscribe(ctx context.Context, names []string) error {
	for _, name := range names {
		s, err := c.conn.ChanSubscribe(name, c.messages)
		if err != nil {
			return err
		}
		c.subs[name] = s
	}
	if err := flush(ctx, c.conn); err != nil {
		return err
	}
	for _, name := range names {
		c.feed.Confirmed(name)
	}
	return nil
}

// flush waits until the server has processed all earlier writes or ctx is done. The client itself ignores ctx while it
// writes.
func flush(ctx context.Context, conn *nats.Conn) error {
	return within(ctx, func() error { return conn.FlushWithContext(ctx) })
}

// Unsubscribe implements subscribe.Conn.
func (c *conn) Unsubscribe(_ context.Context, names []string) error {
	for _, name := range names {
		if err := c.subs[name].Unsubscribe(); err != nil {
			return err
		}
		delete(c.subs, name)
	}
	return nil
}

// Ping implements subscribe.Conn. It sends nothing, because the client monitors its connection itself.
func (c *conn) Ping(context.Context) error {
	c.feed.Heard()
	return nil
}

// Close implements subscribe.Conn. It leaves the application's connection open.
func (c *conn) Close() {
	for _, s := range c.subs {
		_ = s.Unsubscribe() // fails if the connection is closed
	}
	c.conn.RemoveStatusListener(c.statuses) // ends Receive
}

// Receive implements subscribe.Conn.
func (c *conn) Receive() error {
	dropped := make(map[*nats.Subscription]int)
	for {
		select {
		case m := <-c.messages:
			c.received(m, dropped)
		case <-c.statuses:
			for len(c.messages) > 0 { // received before the change of status
				c.received(<-c.messages, dropped)
			}
			return c.why()
		}
	}
}

// received passes on a message and the number of messages that the client has dropped.
func (c *conn) received(m *nats.Msg, dropped map[*nats.Subscription]int) {
	name := m.Sub.Subject
	c.feed.Received(subscribe.Message{Name: name, Payload: m.Data})
	if n, err := m.Sub.Dropped(); err == nil && n > dropped[m.Sub] {
		c.feed.Dropped(name, n-dropped[m.Sub])
		dropped[m.Sub] = n
	}
}

// within calls f and returns its error, or the cause of ctx if ctx is done first.
func within(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
