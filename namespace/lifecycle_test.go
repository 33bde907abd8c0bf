package namespace

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// quickClient does something as soon as it hears that a socket is connected.
type quickClient struct {
	fakeClient
	joined func(*Socket)
}

func (c *quickClient) Schedule()        { c.wg.Go(func() { c.queue.Run(c) }) }
func (c *quickClient) Joined(s *Socket) { c.joined(s) }

// TestClientLeavesAtOnce sends an event and leaves before the handlers for connections have been called. They are, and
// then those for the event and for the end.
func TestClientLeavesAtOnce(t *testing.T) {
	n := NewRegistry(Config{
		Parser:   parser.Default,
		Adapter:  func(n adapter.Namespace) adapter.Adapter { return adapter.NewMemory(n, nil) },
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
		Recovery: new(adapter.RecoveryOptions),
	}).Of("/")
	var seen []string
	n.OnConnect(func(s *Socket) {
		seen = append(seen, "connect")
		s.On("e", func(*Event) { seen = append(seen, "event") })
	})
	gone := make(chan struct{})
	n.OnDisconnect(func(*Socket, DisconnectReason) {
		seen = append(seen, "gone")
		gone <- struct{}{}
	})
	want := []string{"connect", "event", "gone"}
	auth := ""
	for _, name := range []string{"new", "resumed"} {
		t.Run(name, func(t *testing.T) {
			seen = nil
			c := new(quickClient)
			c.joined = func(s *Socket) {
				if s.Recovered() != (name == "resumed") {
					t.Errorf("resumed: %v", s.Recovered())
				}
				if name == "new" {
					_ = s.Emit("x") // which has the offset for the other
					offset := c.sent[len(c.sent)-1]
					auth = `{"pid":"` + s.more().pid + `","offset":` + offset[strings.LastIndex(offset, ",")+1:len(offset)-1] + `}`
				}
				c.queue.PushEvent(s, event(`["e"]`))
				c.queue.EndBatch()
				Disconnect(s, TransportClose, nil)
			}
			Join(n, c, []byte(auth))
			c.Schedule()
			<-gone
			c.wg.Wait()
			if !slices.Equal(seen, want) {
				t.Errorf("seen %q, want %q", seen, want)
			}
		})
	}
}
