package nats

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/myriad-rt/myriad/internal/subscribe"
)

// feedSize is the number of messages that the client may hand over faster than they are put into queues.
const feedSize = 1 << 15

var (
	errClosed       = errors.New("connection closed for good")
	errDisconnected = errors.New("not connected")
)

// driver implements subscribe.Driver over the connection of the application, which connects anew by itself.
type driver struct{ conn *nats.Conn }

func newReceiver(conn *nats.Conn, o *Options) *subscribe.Receiver {
	// The client drops what is not taken from it at once, whether there is room or not.
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

// why returns why the client is not connected.
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

// conn implements subscribe.Conn. All subjects come by one channel, so that what another node publishes is handled in that
// order, whatever the subjects.
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

// flush waits until the server has processed what was sent, or until ctx ends, which the client does not heed while it
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

// Ping implements subscribe.Conn: the client looks after its connection itself.
func (c *conn) Ping(context.Context) error {
	c.feed.Heard()
	return nil
}

// Close implements subscribe.Conn. The connection remains the application's.
func (c *conn) Close() {
	for _, s := range c.subs {
		_ = s.Unsubscribe() // it fails if the connection is closed
	}
	c.conn.RemoveStatusListener(c.statuses) // which ends Receive
}

// Receive implements subscribe.Conn.
func (c *conn) Receive() error {
	dropped := make(map[*nats.Subscription]int)
	for {
		select {
		case m := <-c.messages:
			c.received(m, dropped)
		case <-c.statuses:
			for len(c.messages) > 0 { // that came before
				c.received(<-c.messages, dropped)
			}
			return c.why()
		}
	}
}

// received passes a message on, and how many the client had to drop.
func (c *conn) received(m *nats.Msg, dropped map[*nats.Subscription]int) {
	name := m.Sub.Subject
	c.feed.Received(subscribe.Message{Name: name, Payload: m.Data})
	if n, err := m.Sub.Dropped(); err == nil && n > dropped[m.Sub] {
		c.feed.Dropped(name, n-dropped[m.Sub])
		dropped[m.Sub] = n
	}
}

// within returns what f returns, or the context's error when ctx ends first.
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
