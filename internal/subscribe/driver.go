package subscribe

import "context"

// Driver connects to a broker. Its methods are called by one goroutine at a time and must return soon after ctx is
// done.
type Driver interface {
	// Locate returns the key of the connection for a name, or "" if there is one connection for all names.
	Locate(ctx context.Context, name string) (key string, err error)
	// Open returns the connection for a key that Locate has just returned. No other connection with this key is
	// open. It reports to f.
	Open(ctx context.Context, key string, f *Feed) (Conn, error)
}

// Conn is a receiving connection.
type Conn interface {
	// Receive reports to the Feed until the connection fails or is closed, and returns the reason. It is called
	// once, concurrently with the other methods, which are called one at a time.
	Receive() error
	// Subscribe subscribes to names. The driver must call Feed.Confirmed for each name once its messages arrive. If
	// Subscribe, Unsubscribe or Ping fails, the connection is closed.
	Subscribe(ctx context.Context, names []string) error
	// Unsubscribe ends subscriptions.
	Unsubscribe(ctx context.Context, names []string) error
	// Ping asks the broker for a sign of life; the driver must call Feed.Heard when it arrives. Ping is called
	// after a period of silence.
	Ping(ctx context.Context) error
	// Close closes the connection, which makes Receive return. It is called once.
	Close()
}

// Message is a received message.
type Message struct {
	Name    string // subscribed name
	Channel string // channel the message was sent to, if Name is a pattern
	Payload []byte // immutable
	Value   any    // set if Payload is not sufficient, or by Insert
}

// overhead is the cost of a message in addition to its bytes.
const overhead = 256

func (m *Message) size() int { return len(m.Channel) + len(m.Payload) + overhead }
