package subscribe

import "context"

// Driver connects to a broker. Its methods are called by one goroutine at a time and return soon after ctx ends.
type Driver interface {
	// Locate returns the key of the connection that a name belongs to: "" if there is one for all.
	Locate(ctx context.Context, name string) (key string, err error)
	// Open returns a connection with a key that Locate has just returned. No other one with this key is open. It reports
	// to f.
	Open(ctx context.Context, key string, f *Feed) (Conn, error)
}

// Conn is a connection that receives.
type Conn interface {
	// Receive reports to the Feed until the connection fails or is closed, and returns why. It is called once, at the same
	// time as the other methods, of which one is called at a time.
	Receive() error
	// Subscribe subscribes to names. Feed.Confirmed is to be called for each of them when its messages come. A connection
	// of which this or one of the following methods fails is closed.
	Subscribe(ctx context.Context, names []string) error
	// Unsubscribe ends subscriptions.
	Unsubscribe(ctx context.Context, names []string) error
	// Ping has a broker that is alive say something, upon which Feed.Heard is to be called. It is called when nothing has
	// come for a while.
	Ping(ctx context.Context) error
	// Close ends the connection, which makes Receive return. It is called once.
	Close()
}

// Message is what has come by a subscription.
type Message struct {
	Name    string // that was subscribed to
	Channel string // that the message was sent to, if Name stands for several
	Payload []byte // does not change any more
	Value   any    // where Payload is not enough, or what was inserted
}

// overhead is what a message counts beside its bytes.
const overhead = 256

func (m *Message) size() int { return len(m.Channel) + len(m.Payload) + overhead }
